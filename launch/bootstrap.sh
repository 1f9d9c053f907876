# Sourced by ./quickstart and ./run-tests: what both need to set a machine up. Bash and coreutils only.
# Every step first looks whether it is needed, writes its output to build/logs/, and on failure ends the script with
# one line that says why.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
script=$(basename "$0")
logs=$root/build/logs
venv=$root/.venv
site=                 # the virtual environment's package folder, set by ensure_python
cpu_only=${cpu_only:-false}
install=${install:-true}

torch_version=2.11.0
cuda_version=13.0
arrow_version=26.0.1  # reads Parquet
# The compiler, where the machine has no CUDA toolkit of that version.
nvcc_wheels=(nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-cccl==13.0.85)
build_packages=(g++ cmake ninja-build git ca-certificates python3-venv libopenmpi-dev openmpi-bin libhdf5-dev
  prometheus-cpp-dev libcpp-httplib-dev libyaml-cpp-dev libcli11-dev nlohmann-json3-dev libxxhash-dev libzstd-dev libsodium-dev libgtest-dev)
# The last four start a Slurm of the tests' own: 12 MB.
test_packages=(libbenchmark-dev clang-format clang-tidy slurmctld slurmd slurm-client munge iproute2)
test_wheels=(numpy h5py safetensors xxhash onnxruntime tensorboard)

say() { printf '%s\n' "$*"; }

fail() {
  printf '%s: %s\n' "$script" "$*" >&2
  exit 1
}

# --- steps -----------------------------------------------------------------------------------------------------------

watcher=
stop_watcher() {
  if [ -n "$watcher" ]; then
    kill "$watcher" 2>/dev/null || true
    wait "$watcher" 2>/dev/null || true
    watcher=
  fi
}
trap stop_watcher EXIT

# watch PROGRESS LOG: shows what PROGRESS prints; on a terminal in one line, elsewhere now and then.
watch() {
  local began=$SECONDS text last= due=15
  while kill -0 $$ 2>/dev/null; do
    sleep 1 >/dev/null 2>&1
    text=$("$1" "$2" 2>/dev/null || true)
    if [ -z "$text" ] || [ "$text" = "$last" ]; then continue; fi
    if [ -t 1 ]; then
      printf '\r\033[K    %s' "$text"
    elif [ $((SECONDS - began)) -ge $due ]; then
      printf '    %s (%d s)\n' "$text" $((SECONDS - began))
      due=$((SECONDS - began + 20))
    fi
    last=$text
  done
}

# step NAME PROGRESS COMMAND...: runs COMMAND with its output in build/logs/NAME.log.
step() {
  local name=$1 progress=$2 log=$logs/$1.log status=0
  shift 2
  mkdir -p "$logs"
  : >"$log"
  watch "$progress" "$log" &
  watcher=$!
  "$@" >>"$log" 2>&1 </dev/null || status=$?
  stop_watcher
  if [ -t 1 ]; then printf '\r\033[K'; fi
  if [ $status -ne 0 ]; then
    fail "$name failed: $(explain "$log") (all of it: ${log#"$root"/})"
  fi
}

# explain LOG: the reason, in a line.
explain() {
  local line
  if grep -qiE 'No space left on device|not enough free space' "$1"; then
    echo "the disk is full"
  elif grep -qiE 'temporary failure|could not resolve|name resolution|network is unreachable|failed to establish a new connection|could not connect|unable to connect|connection (timed out|refused)|ConnectTimeout|ReadTimeout|failed to fetch' "$1"; then
    echo "no network: the package server could not be reached"
  elif grep -qE 'Could not get lock|Unable to acquire the dpkg' "$1"; then
    echo "another package installation is running; try again when it has ended"
  elif grep -qE 'Killed signal|out of memory|Cannot allocate memory|signal terminated program cc1plus' "$1"; then
    echo "out of memory; try --jobs 1"
  else
    line=$(grep -m1 -E '(error|Error|ERROR|fatal): |CMake Error|^E: ' "$1" || grep -m1 FAILED "$1" || tail -n 1 "$1")
    echo "${line:0:300}"
  fi
}

progress_apt() {
  local total
  total=$(grep -oE '[0-9]+ newly installed' "$1" | head -1 | grep -oE '[0-9]+' || true)
  if [ -n "$total" ]; then echo "packages: $(grep -c '^Setting up' "$1" || true) of $total set up"; fi
}

progress_pip() {
  local downloaded installed
  downloaded=$(du -sm "$root/build/tmp" 2>/dev/null | cut -f1)
  installed=$(du -sm "$venv" 2>/dev/null | cut -f1)
  echo "wheels: ${downloaded:-0} MB downloaded, ${installed:-0} MB installed"
}

progress_ninja() {
  local text
  text=$(grep -oE '^\[[0-9]+/[0-9]+\]' "$1" | tail -n 1 | tr -d '[]')
  if [ -n "$text" ]; then echo "built ${text%/*} of ${text#*/}"; fi
}

progress_none() { :; }

# --- what the machine must have --------------------------------------------------------------------------------------

free_gb() { df -Pk "$1" | tail -n 1 | { read -r _ _ _ free _ && echo $((free / 1048576)); }; }

need_disk() {  # need_disk GB FOLDER WHY
  local free
  free=$(free_gb "$2")
  if [ "$free" -lt "$1" ]; then
    fail "not enough disk space for $3: about $1 GB are needed in $2, $free GB are free"
  fi
}

missing_packages() {
  local package
  for package in "$@"; do
    if [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then echo "$package"; fi
  done
}

apt() {
  local options=(-o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o DPkg::Lock::Timeout=120)
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" update
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "${options[@]}" install -y --no-install-recommends "$@"
}

ensure_packages() {  # ensure_packages PACKAGE...
  if ! command -v dpkg-query >/dev/null; then
    say "system packages: no dpkg here, so they are taken as given"
    return
  fi
  local missing
  mapfile -t missing < <(missing_packages "$@")
  if [ ${#missing[@]} -eq 0 ]; then
    say "system packages: present"
    return
  fi
  if ! $install; then fail "packages are missing and --no-install was given: ${missing[*]}"; fi
  as_root=()
  if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
      fail "no rights to install packages (not root, no sudo). Ask for: apt-get install ${missing[*]}"
    fi
    if ! sudo -n true 2>/dev/null && ! { [ -t 0 ] && sudo -v; }; then
      fail "no rights to install packages (sudo was refused). Ask for: apt-get install ${missing[*]}"
    fi
    as_root=(sudo)
  fi
  need_disk 2 /var "installing packages"
  say "system packages: installing ${missing[*]}"
  step packages progress_apt apt "${missing[@]}"
}

have_wheel() {  # have_wheel NAME VERSION: the record is the last file that pip writes
  compgen -G "$site/${1//-/_}-$2*.dist-info/RECORD" >/dev/null
}

pip_install() {  # unpacks under build/: /tmp may be small
  mkdir -p "$root/build/tmp"
  local status=0
  TMPDIR=$root/build/tmp "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --no-cache-dir \
    --progress-bar off --retries 2 --timeout 30 --only-binary=:all: "$@" || status=$?
  rm -rf "$root/build/tmp"
  return $status
}

make_venv() { rm -rf "$venv" && "$python" -m venv "$venv"; }

find_site() { site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' 2>/dev/null); }

find_nvcc() {
  local nvcc
  for nvcc in "$(command -v nvcc || true)" /usr/local/cuda/bin/nvcc "/usr/local/cuda-$cuda_version/bin/nvcc"; do
    if [ -x "$nvcc" ] && "$nvcc" --version 2>/dev/null | grep -q "release $cuda_version,"; then
      echo "$nvcc"
      return
    fi
  done
}

# LibTorch with the CUDA libraries and NCCL, and Arrow, come as wheels, in a virtual environment of the project's own.
ensure_python() {  # ensure_python [WHEEL...]
  local python=/usr/bin/python3 wheels=() wheel nvcc=
  if [ ! -x $python ]; then python=$(command -v python3) || fail "no python3 here"; fi
  if [ ! -x "$venv/bin/python" ] || ! find_site || [ ! -d "$site/pip" ]; then
    if ! $install; then fail "there is no .venv and --no-install was given"; fi
    need_disk 9 "$root" "LibTorch and the build"
    step venv progress_none make_venv
    find_site || fail "the virtual environment in .venv does not work; remove it and try again"
  fi
  if ! have_wheel torch $torch_version; then
    need_disk 9 "$root" "LibTorch and the build"
    wheels+=("torch==$torch_version")
  fi
  have_wheel pyarrow $arrow_version || wheels+=("pyarrow==$arrow_version")
  if ! $cpu_only; then
    nvcc=$(find_nvcc)
    if [ -z "$nvcc" ] && [ "$(uname -m)" = x86_64 ]; then
      for wheel in "${nvcc_wheels[@]}"; do
        have_wheel "${wheel%%==*}" "${wheel##*==}" || wheels+=("$wheel")
      done
    fi
  fi
  for wheel in "$@"; do
    have_wheel "$wheel" '' || wheels+=("$wheel")
  done
  if [ ${#wheels[@]} -eq 0 ]; then
    say "LibTorch $torch_version: present in .venv"
  else
    if ! $install; then fail "wheels are missing in .venv and --no-install was given: ${wheels[*]}"; fi
    say "python wheels: installing ${wheels[*]} into .venv"
    step wheels progress_pip pip_install "${wheels[@]}"
  fi
  if ! $cpu_only; then say "nvcc $cuda_version: ${nvcc:-from the wheels in .venv}"; fi
}

# --- building --------------------------------------------------------------------------------------------------------

cores() { nproc; }

# A compiler over LibTorch's headers takes up to 1.5 GB.
default_jobs() {
  local memory jobs
  jobs=$(cores)
  memory=$(grep MemAvailable /proc/meminfo | tr -dc '0-9')
  if [ $((memory / 1572864)) -lt "$jobs" ]; then jobs=$((memory / 1572864)); fi
  echo $((jobs > 0 ? jobs : 1))
}

# configure PRESET [KEY=VALUE...]: only when the build tree is new, moved, or was configured otherwise.
configure() {
  local preset=$1 folder=$root/build/$1 pair stale=false
  shift
  if [ "$(cached CMAKE_HOME_DIRECTORY "$folder")" != "$root" ]; then rm -rf "$folder"; fi
  if [ ! -f "$folder/build.ninja" ]; then stale=true; fi
  for pair in "$@"; do
    if [ "$(cached "${pair%%=*}" "$folder")" != "${pair#*=}" ]; then stale=true; fi
  done
  if $stale; then step "configure-$preset" progress_none cmake --preset "$preset" "${@/#/-D}"; fi
}

cached() { sed -n "s|^$1:[A-Z]*=||p" "$2/CMakeCache.txt" 2>/dev/null || true; }

build() {  # build PRESET [TARGET...]
  local preset=$1
  shift
  step "build-$preset" progress_ninja cmake --build "$root/build/$preset" -j "$jobs" ${1:+--target "$@"}
  if grep -q 'no work to do' "$logs/build-$preset.log"; then
    say "build ($preset): nothing to do"
  else
    say "build ($preset): done"
  fi
}

link_program() { ln -sfn build/release/decant "$root/decant"; }

# Open MPI: as root only when told so; more ranks than cores; a container without the right to copy between processes.
mpi_environment() {
  if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
  if [ -e /.dockerenv ] || [ -e /run/.containerenv ]; then export OMPI_MCA_btl_vader_single_copy_mechanism=none; fi
}

describe_machine() {
  local system memory
  system=$(. /etc/os-release 2>/dev/null && echo "${PRETTY_NAME:-}")
  memory=$(grep MemTotal /proc/meminfo | tr -dc '0-9')
  say "$script on ${system:-$(uname -s)}, $(cores) cores, $((memory / 1048576)) GB memory, $(free_gb "$root") GB disk free"
}

# --- times -----------------------------------------------------------------------------------------------------------

phases=()
phase_began=$SECONDS
end_phase() {
  phases+=("$1 $((SECONDS - phase_began)) s")
  phase_began=$SECONDS
}
print_phases() {
  local list
  list=$(printf ', %s' "${phases[@]}")
  say "$script: $1 in $SECONDS s (${list:2})"
}
