"""decant import beside polars and pandas, which do the same work: read, drop, order by time, k-core, number, write.

    python benchmarks/import_race.py ./decant [--log online_retail.tsv online_retail.parquet] [--rows 3000000] [--repeats 5]

Each is a process of its own; runs are interleaved. Prints markdown: the median and range of seconds, processor seconds, MiB at
the peak, and what was left. --log takes files with the columns of UCI's Online Retail; --rows adds a log of its own as CSV. Needs
polars and pandas; Parquet needs pyarrow.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

K_CORE = 5
RETAIL = {'user': 'CustomerID', 'item': 'Description', 'time': 'InvoiceDate', 'quantity': 'Quantity', 'separator': '\t'}
SYNTHETIC = {'user': 'user', 'item': 'item', 'time': 'time', 'quantity': 'quantity', 'separator': ','}


def with_polars(path, columns, out):
    import polars as pl
    user, item, when, quantity = (pl.col(columns[name]) for name in ('user', 'item', 'time', 'quantity'))
    names = [columns[name] for name in ('user', 'item', 'time', 'quantity')]
    if path.endswith('.parquet'):
        log = pl.read_parquet(path, columns=names).with_columns(item.str.strip_chars(' \t'))  # as decant does
    else:
        log = pl.read_csv(path, separator=columns['separator'], columns=names, null_values=['NA', 'NULL'],
                          schema_overrides={columns['user']: pl.String, columns['item']: pl.String}, infer_schema_length=1000)
        if log.schema[columns['time']] == pl.String:
            log = log.with_columns(when.str.to_datetime('%Y-%m-%d %H:%M'))
    log = log.select(user.alias('user'), item.alias('item'), when.alias('time'), quantity.alias('quantity')).drop_nulls()
    log = log.filter(pl.col('quantity') > 0).drop('quantity')
    users, items = log.select(pl.col('user').unique(maintain_order=True)), log.select(pl.col('item').unique(maintain_order=True))
    before = None
    while before != len(log):
        before = len(log)
        log = log.filter((pl.len().over('item') >= K_CORE) & (pl.len().over('user') >= K_CORE))
    users = users.join(log.select(pl.col('user').unique()), on='user', how='semi', maintain_order='left').with_row_index('u')
    items = items.join(log.select(pl.col('item').unique()), on='item', how='semi', maintain_order='left').with_row_index('i')
    log = log.join(users, on='user', maintain_order='left').join(items, on='item', maintain_order='left')
    rows = log.sort('u', 'time', maintain_order=True).group_by('u', maintain_order=True).agg('i')
    rows.write_parquet(out / 'rows.parquet')
    users.write_parquet(out / 'users.parquet')
    items.write_parquet(out / 'items.parquet')
    return len(users), len(items), len(log)


def with_pandas(path, columns, out):
    import pandas as pd
    names = {columns[name]: name for name in ('user', 'item', 'time', 'quantity')}
    if path.endswith('.parquet'):
        log = pd.read_parquet(path, columns=list(names))
        log[columns['item']] = log[columns['item']].str.strip(' \t')
    else:
        log = pd.read_csv(path, sep=columns['separator'], usecols=list(names), dtype={columns['user']: str, columns['item']: str},
                          keep_default_na=False, na_values=['', 'NA', 'NULL'])
        if not pd.api.types.is_numeric_dtype(log[columns['time']]):
            log[columns['time']] = pd.to_datetime(log[columns['time']], format='%Y-%m-%d %H:%M')
    log = log.rename(columns=names).dropna()
    log = log[log.quantity > 0]
    before = None
    while before != len(log):
        before = len(log)
        log = log[(log.groupby('item').item.transform('size') >= K_CORE) & (log.groupby('user').user.transform('size') >= K_CORE)]
    log['u'], users = pd.factorize(log.user)
    log['i'], items = pd.factorize(log.item)
    rows = log.sort_values(['u', 'time'], kind='stable')
    rows[['u', 'i']].to_parquet(out / 'rows.parquet')
    pd.DataFrame({'user': users}).to_parquet(out / 'users.parquet')
    pd.DataFrame({'item': items}).to_parquet(out / 'items.parquet')
    return len(users), len(items), len(rows)


def decant_command(decant, path, columns, out):
    separator = 'tab' if columns['separator'] == '\t' else columns['separator']
    named = [word for name in ('user', 'item', 'time', 'quantity') for word in ('--' + name, columns[name])]
    return [decant, 'import', '--format', 'interactions', '--separator', separator, *named, '--missing', 'drop',
            '--k-core', str(K_CORE), '--out', str(out / 'dataset'), path]


def write_log(path, rows):
    """Users and items by a power law, times over two years in no order, a tenth returned."""
    import numpy as np
    draw = np.random.default_rng(1)
    user = (draw.pareto(1.2, rows) * rows / 500).astype(np.int64) % (rows // 20) + 100_000
    item = (draw.pareto(1.0, rows) * 300).astype(np.int64) % (rows // 40) + 10_000
    when = draw.integers(1_600_000_000, 1_663_000_000, rows)
    quantity = np.where(draw.random(rows) < 0.1, -1, draw.integers(1, 9, rows))
    np.savetxt(path, np.stack([user, item, when, quantity], 1), '%d', ',', header='user,item,time,quantity', comments='')


def measure(command, env):
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | env)
    text = process.stdout.read()
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f'{command} failed:\n{errors}')
    return time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text


def left_of(name, text):
    if name != 'decant':
        return tuple(map(int, text.split()))
    found = dict(line.split() for line in text.splitlines() if len(line.split()) == 2)
    return int(found['users']), int(found['items']), int(found['events'])


def race(decant, path, columns, repeats, folder):
    def peer(which):
        return [sys.executable, __file__, '--one', which, path, 'retail' if columns is RETAIL else 'synthetic', str(folder)]

    threads = os.cpu_count()
    rivals = {'decant': (decant_command(decant, path, columns, folder), {}),
              'polars, 1 thread': (peer('polars'), {'POLARS_MAX_THREADS': '1'}),
              f'polars, {threads} threads': (peer('polars'), {'POLARS_MAX_THREADS': str(threads)}),
              'pandas': (peer('pandas'), {})}
    times = {name: [] for name in rivals}
    for _ in range(repeats):
        for name, (command, env) in rivals.items():
            times[name].append(measure(command, env))
    for name, runs in times.items():
        seconds, cpu, mib = ([run[i] for run in runs] for i in range(3))
        left = '{:,} users, {:,} items, {:,} events'.format(*left_of(name, runs[0][3]))
        print(f'| {Path(path).name} | {name} | {statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f}) '
              f'| {statistics.median(cpu):.2f} | {statistics.median(mib):.0f} | {left} |', flush=True)


def main():
    if sys.argv[1:2] == ['--one']:
        which, path, columns, out = sys.argv[2:]
        work = with_polars if which == 'polars' else with_pandas
        print(*work(path, RETAIL if columns == 'retail' else SYNTHETIC, Path(out)))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('decant')
    parser.add_argument('--log', nargs='*', default=[])
    parser.add_argument('--rows', type=int, default=0)
    parser.add_argument('--repeats', type=int, default=5)
    arguments = parser.parse_args()
    print('| log | program | seconds | processor seconds | MiB | what is left |\n| --- | --- | --- | --- | --- | --- |')
    with tempfile.TemporaryDirectory() as folder:
        for path in arguments.log:
            race(arguments.decant, path, RETAIL, arguments.repeats, Path(folder))
        if arguments.rows:
            path = str(Path(folder) / f'log-{arguments.rows}.csv')
            write_log(path, arguments.rows)
            race(arguments.decant, path, SYNTHETIC, arguments.repeats, Path(folder))


if __name__ == '__main__':
    main()
