"""Parquet as a log of interactions: every type against the same log as CSV, and what a bad file is told."""
import datetime
import decimal
import gzip
import json
import shutil

from _support import expect, main, skip

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:
    skip("no pyarrow here")

UTC = datetime.timezone.utc
DAYS = [datetime.datetime(2020, 1, 3), datetime.datetime(1969, 12, 31), datetime.datetime(2020, 1, 2)]
EPOCH = [int(day.replace(tzinfo=UTC).timestamp()) for day in DAYS]
ITEMS = ["7", "12", "-3"]


def log(item=None, time=None, rating=None, user=None):
    """Three events of one user, out of order, as a table."""
    return pa.table({"when": time or pa.array(EPOCH), "other": pa.array([[1], [], None]), "sku": item or pa.array(ITEMS),
                     "stars": rating or pa.array([1, 5, 5]), "user": user or pa.array(["a"] * 3)})


# What must give the dataset that the CSV gives.
SAME = {
    "items of int8": {"item": pa.array([7, 12, -3], pa.int8())},
    "items of int64": {"item": pa.array([7, 12, -3])},
    "items of large_string": {"item": pa.array(ITEMS, pa.large_string())},
    "items of string_view": {"item": pa.array(ITEMS, pa.string_view())},
    "items of binary": {"item": pa.array([text.encode() for text in ITEMS])},
    "items of a dictionary": {"item": pa.array(ITEMS).dictionary_encode()},
    "items of a dictionary of numbers": {"item": pa.array([7, 12, -3]).dictionary_encode()},
    "items of double": {"item": pa.array([7.0, 12.0, -3.0])},
    "items of float": {"item": pa.array([7, 12, -3], pa.float32())},
    "items of decimal": {"item": pa.array([decimal.Decimal(text + ".00") for text in ITEMS], pa.decimal128(9, 2))},
    "times of string": {"time": pa.array(["2020-01-03T01:00:00+01:00", "1969-12-31", "2020-01-02 00:00"])},
    "times of date32": {"time": pa.array([day.date() for day in DAYS])},
    "times of date64": {"time": pa.array([day.date() for day in DAYS], pa.date64())},
    "times of double": {"time": pa.array([float(time) for time in EPOCH])},
    "ratings of double": {"rating": pa.array([1.5, 4.0, 4.0])},
    "ratings of decimal": {"rating": pa.array([decimal.Decimal("3.99")] + [decimal.Decimal("4.00")] * 2)},
    "ratings of string": {"rating": pa.array(["1", "4", "5"])},
    **{f"times of timestamp[{unit}, {zone}]": {"time": pa.array(DAYS, pa.timestamp(unit)).cast(pa.timestamp(unit, zone))}
       for unit, zone in (("s", None), ("ms", "Europe/Berlin"), ("us", "UTC"), ("ns", None))},
}

# The table or its columns, the options that differ, and what is said of it.
WRONG_TYPES = {
    "user": ({"user": pa.array([[1], [2], [3]])}, "is of type list<element: int64>, and 'user' wants a text, a number or a date"),
    "time": ({"time": pa.array([True, False, True])}, "is of type bool, and 'time' wants a timestamp, a date, a number or a text"),
    "rating": ({"rating": pa.array(DAYS)}, "is of type timestamp[us], and 'rating' wants a number"),
    "item": ({"item": pa.array([{"id": 1}] * 3)}, "is of type struct<id: int64>, and 'item' wants"),
}
COLUMNS = {"user": "user", "item": "sku", "time": "when", "rating": "stars"}
FLAGS = ["--format", "interactions", "--item", "sku", "--time", "when", "--rating", "stars", "--min-rating", 4, "--out", "d"]


def test(decant):
    def found(*flags):
        decant.ok("import", *FLAGS, *flags)
        info = json.loads(decant.path("d/manifest.json").read_text())
        return info["content_hash"], info["catalogue_hash"]

    def file(table, **options):
        pq.write_table(table, decant.path("log.parquet"), **options)
        return "log.parquet"

    rows = [f"{time},{item},{stars},a\n" for time, item, stars in zip(EPOCH, ITEMS, (1, 5, 5))]
    decant.write("log.csv", "when,sku,stars,user\n" + "".join(rows))
    expected = found("log.csv")
    for name, columns in SAME.items():
        expect(found(file(log(**columns))) == expected, f"{name}: another dataset than from CSV")
    expect(found(file(log(), row_group_size=1, compression="zstd", data_page_version="2.0", version="1.0")) == expected,
           "row groups of one row gave another dataset")
    # Both kinds of file in one log; the time's format is of texts and numbers, not of timestamps.
    pq.write_table(log(time=pa.array(DAYS)).slice(0, 2), decant.path("first.parquet"))
    decant.write("second.csv", "user,sku,stars,when\na,-3,5,2020-01-02\n")
    expect(found("first.parquet", "second.csv", "--time-format", "iso") == expected, "Parquet and CSV together")

    # Nulls, and NaN, which pandas has for them.
    table = log(user=pa.array([17850.0, float("nan"), None]), rating=pa.array([5, 5, 5]))
    says = ["log.parquet: row 1: there is no user ('user' is empty; 'interactions.missing: drop'"]
    decant.fails(3, "import", *FLAGS, file(table), says=says)
    decant.ok("import", *FLAGS, "--missing", "drop", "log.parquet")
    counts = json.loads(decant.path("d/manifest.json").read_text())["import"]["summary"]
    expect((counts["events"], counts["interactions"]["missing_values"]) == (1, 2), f"nulls were not counted: {counts}")

    for value, (columns, says) in WRONG_TYPES.items():
        decant.fails(3, "import", *FLAGS, file(log(**columns)),
                     says=[f"log.parquet: as Parquet: column '{COLUMNS[value]}' {says}"])
    late = log(time=pa.array([2 ** 40, 0, 0], pa.timestamp("s")))
    decant.fails(3, "import", *FLAGS, file(late), says=["log.parquet: row 0: a time is out of range (years 0 to 9999)"])
    decant.fails(3, "import", *FLAGS, file(log().drop(["sku"])),
                 says=["log.parquet: there is no column 'sku' for 'item' (it has: when, other, stars, user)"])
    twice = pa.Table.from_arrays([log()["sku"]] * 2, names=["sku", "sku"]).append_column("user", log()["user"])
    decant.fails(3, "import", "--format", "interactions", "--item", "sku", "--time", "", "--out", "e", file(twice),
                 says=["there are two columns 'sku'"])

    whole = decant.path(file(log(), compression="none", use_dictionary=False, write_page_checksum=True)).read_bytes()
    middle = whole.index(b"\2\0\0\0-3") + 4  # of the data of a page
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    flipped = whole[:middle] + b"+" + whole[middle + 1:]
    for name, data, says in (("cut", whole[:len(whole) // 2], "as Parquet: Parquet magic bytes not found in footer"),
                             ("footer", whole[:footer] + b"\xff" * 20 + whole[footer + 20:], "as Parquet: Couldn't deserialize thrift"),
                             ("page", flipped, "as Parquet: could not verify page integrity, CRC checksum verification failed"),
                             ("size", whole[:-8] + b"\xff\xff\xff\x7fPAR1", "as Parquet: Parquet file size is"),
                             ("packed", gzip.compress(whole), "a Parquet file that is compressed as a whole is not read")):
        decant.write(name, data)
        decant.fails(3, "import", *FLAGS[:-1], "e", name, says=[f"{name}: {says}"])
    decant.fails(3, "import", *FLAGS[:-1], "e", "--lines", "parquet", "log.csv", says=["log.csv: as Parquet: Parquet magic bytes"])
    expect(not decant.path("e").exists(), "a failed import left its folder")

    # Without the module beside it, as of a build without pyarrow, a program says what is missing.
    alone = decant.path("bin/decant")
    alone.parent.mkdir()
    shutil.copy(decant.binary, alone)
    decant.binary = str(alone)
    decant.fails(2, "import", *FLAGS, "log.parquet", says=["log.parquet is a Parquet file", "libdecant_parquet.so", "pyarrow"])


main(test)
