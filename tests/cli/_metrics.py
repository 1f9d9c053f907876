"""What the tests of metrics share."""
import base64
import socket
import time
import urllib.error
import urllib.request

from _support import expect


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def fetch(url, credentials=None):
    """The text; `credentials`: "user:password"."""
    request = urllib.request.Request(url)
    if credentials:
        request.add_header("Authorization", "Basic " + base64.b64encode(credentials.encode()).decode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


def status(url, credentials=None):
    try:
        fetch(url, credentials)
        return 200
    except urllib.error.HTTPError as error:
        return error.code


def wait_for(what, ask, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if found := ask():
                return found
        except (OSError, ValueError, IndexError):
            pass  # not up yet
        time.sleep(0.1)
    expect(False, f"{what}: not within {seconds} s")
