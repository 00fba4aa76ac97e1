"""A command that is killed and run again several times, and then left to finish.

With 40 kills, from the shell: python tests/helpers/kills.py 40 transcribe big/images --max-tokens 16 --out big.jsonl
"""

import json
import subprocess
import sys
from pathlib import Path

LOOP = """
import json, os, random, signal, sys, time
import torch, transformers, PIL.Image
import ocr_rl.cli.transcribe, ocr_rl.evaluation.transcribe, ocr_rl.rollouts.group_output
from ocr_rl.cli.main import main

arguments, out, kills = json.loads(sys.argv[1])
torch.set_num_threads(1)
chance, sizes = random.Random(0), [0]
size = lambda: os.path.getsize(out) if os.path.exists(out) else 0
for attempt in range(kills + 1):
    child = os.fork()
    if child == 0:
        try:
            main(arguments, standalone_mode=False)
            os._exit(0)
        except SystemExit as end:
            os._exit(end.code)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(99)
    more = chance.choice([0, 1, 300, 900]) if attempt < kills else 10**9
    deadline = time.monotonic() + (chance.uniform(0, 0.3) if more == 0 else float("inf"))
    ended, status = 0, 0
    while not ended and time.monotonic() < deadline and size() < sizes[-1] + (more or 10**9):
        time.sleep(0.0005)
        ended, status = os.waitpid(child, os.WNOHANG)
    if not ended:
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
    sizes.append(size())
    if os.WIFEXITED(status):
        break
print(json.dumps([sizes, os.WEXITSTATUS(status)]))
"""


def run_with_kills(arguments, out: Path, kills: int, timeout: float | None = 300) -> tuple[list[int], int]:
    """The size of `out` after each run, and the last one's exit code.

    All runs but the last are killed: some during startup, others once they have written 1, 300 or 900 bytes. They are
    forked from a process that has imported everything.
    """
    given = json.dumps([[str(argument) for argument in arguments], str(out), kills])
    run = subprocess.run([sys.executable, "-c", LOOP, given], capture_output=True, text=True, timeout=timeout)
    assert run.returncode == 0, run.stderr
    sizes, code = json.loads(run.stdout.splitlines()[-1])
    assert code != 99, run.stderr
    print(run.stderr, file=sys.stderr)  # pytest shows it beside a test that fails
    return sizes, code


def main() -> None:
    kills, *arguments = sys.argv[1:]
    out = Path(arguments[arguments.index("--out") + 1])
    sizes, code = run_with_kills(arguments, out, int(kills), timeout=None)
    ids = [json.loads(line)["id"] for line in out.read_text(encoding="ascii").splitlines()]
    print(f"sizes after each run: {sizes}\nexit code {code}; {len(ids)} rows of {len(set(ids))} pages", end="; ")
    print("in order" if ids == sorted(ids) else "NOT in order")


if __name__ == "__main__":
    main()
