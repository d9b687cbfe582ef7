"""Fuzzes what strangers may hand us: `python -m tests.fuzz --seconds 600`, or with some of spec, template, diff, table
named.

With atheris (`pip install atheris`) the inputs are led by what code they reach, each target in a process of its own; without it,
honest inputs are mutated at random. It ends with exit code 1 and the input at the first exception that is none of ours, and
at the first input that takes more than twenty seconds or two gigabytes.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LONGEST_S = 20
MOST_MIB = 2048


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", default=["spec", "template", "diff", "table"])
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="without atheris, even where it is installed")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    led = not given.plain and importlib.util.find_spec("atheris") is not None
    if given.here:
        (_led if led else _plain)(given.targets[0], given.seconds, given.seed)
        return 0
    each = max(1, given.seconds // len(given.targets))
    for target in given.targets:
        print(f"{target}: {each} s, {'led by coverage' if led else 'at random'}", flush=True)
        options = ["--here", "--seconds", str(each), "--seed", str(given.seed), *(["--plain"] if given.plain else [])]
        code = subprocess.run([sys.executable, "-m", "tests.fuzz", target, *options], check=False).returncode
        if code:
            return 1
    return 0


def _led(target: str, seconds: int, seed: int) -> None:
    import atheris

    with atheris.instrument_imports(include=["harness"]):
        import harness.language
        import harness.report.compare
        import harness.untrusted.template  # noqa: F401
        from tests.fuzz import targets

        # Much is imported where it is needed first; it is to be watched as well.
        for content in targets.corpus(target):
            targets.TARGETS[target](content)
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{target}-"))
    (folder / "corpus").mkdir()
    for number, content in enumerate(targets.corpus(target)):
        (folder / "corpus" / str(number)).write_bytes(content)
    escaped = ["".join(f"\\x{byte:02x}" for byte in word.encode()) for word in targets.WORDS[target] if word]
    (folder / "words").write_text("".join(f'"{word}"\n' for word in escaped))
    limits = [f"-max_total_time={seconds}", f"-timeout={LONGEST_S}", f"-rss_limit_mb={MOST_MIB}", f"-seed={seed}"]
    places = [f"-artifact_prefix={folder}/", f"-dict={folder}/words", str(folder / "corpus")]
    atheris.Setup([sys.argv[0], *limits, "-max_len=20000", "-print_final_stats=1", *places], targets.TARGETS[target])
    atheris.Fuzz()


def _plain(target: str, seconds: int, seed: int) -> None:
    from tests.fuzz import targets

    resource.setrlimit(resource.RLIMIT_AS, (MOST_MIB * 2**20, -1))
    signal.signal(signal.SIGALRM, _late)
    chance = random.Random(seed)
    known = targets.corpus(target)
    words = [word.encode("utf-8", "surrogatepass") for word in targets.WORDS[target]]
    until, count, longest = time.monotonic() + seconds, 0, 0.0
    while time.monotonic() < until:
        content = mutated(chance, known, words)
        began = time.monotonic()
        signal.alarm(LONGEST_S)
        try:
            targets.TARGETS[target](content)
        except BaseException:
            place = Path(tempfile.mkdtemp(prefix="fuzz-")) / "input"
            place.write_bytes(content)
            print(f"{target}: this input is kept in {place}", file=sys.stderr)
            raise
        signal.alarm(0)
        count, longest = count + 1, max(longest, time.monotonic() - began)
        if chance.random() < 0.01 and len(known) < 1000:
            known.append(content[:20_000])
    print(f"{target}: {count:,} inputs, the slowest took {longest:.2f} s")


def mutated(chance: random.Random, known: list[bytes], words: list[bytes]) -> bytes:
    """An honest input with pieces taken out, doubled, swapped with another's, or words put in."""
    content = bytearray(chance.choice(known))
    for _ in range(chance.randrange(1, 8)):
        here, there = sorted(chance.randrange(len(content) + 1) for _ in range(2))
        there = min(there, here + 200)
        how = chance.randrange(5)
        if how == 0:
            del content[here:there]
        elif how == 1:
            content[here:here] = content[here:there] * chance.choice((1, 2, 50))
        elif how == 2:
            other = chance.choice(known)
            start = chance.randrange(len(other) + 1)
            content[here:there] = other[start : start + 200]
        elif how == 3:
            content[here:here] = b"".join(chance.choice(words) for _ in range(chance.randrange(1, 12)))
        elif content:
            content[min(here, len(content) - 1)] ^= 1 << chance.randrange(8)
    return bytes(content)


def _late(*_: object) -> None:
    raise TimeoutError(f"it took more than {LONGEST_S} seconds")


if __name__ == "__main__":
    sys.exit(main())
