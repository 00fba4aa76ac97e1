"""How far our numbers are from another implementation's: asserted, noted, and a table at the end of the run."""

from collections.abc import Mapping

import pytest


class ParityTable:
    """The largest absolute difference of everything that was compared, by algorithm and oracle."""

    def __init__(self):
        self.largest = {}

    def compare(self, algorithm, oracle, ours, theirs, atol, rtol=0.0):
        """Notes how far two tensors or numbers, or two nests of them, are apart; fails above `atol`."""
        found = largest_difference(ours, theirs)
        self.largest[algorithm, oracle] = max(found, self.largest.get((algorithm, oracle), 0.0))
        import torch

        torch.testing.assert_close(ours, theirs, atol=atol, rtol=rtol)

    def lines(self):
        rows = [("algorithm", "oracle", "largest difference")]
        for names in sorted(self.largest, key=lambda names: [name.lower() for name in names]):
            rows.append((*names, f"{self.largest[names]:.1e}" if self.largest[names] else "0"))
        first, second = (max(len(row[i]) for row in rows) for i in (0, 1))
        lines = [f"| {row[0]:{first}} | {row[1]:{second}} | {row[2]:>18} |" for row in rows]
        return [lines[0], f"|{'-' * (first + 2)}|{'-' * (second + 2)}|{'-' * 19}:|", *lines[1:]]


def largest_difference(ours, theirs):
    """Infinite where one of the two is no number."""
    import torch

    if isinstance(theirs, Mapping):
        ours, theirs = [ours[name] for name in theirs], list(theirs.values())
    if isinstance(theirs, list | tuple):
        return max(largest_difference(*two) for two in zip(ours, theirs, strict=True))
    a, b = torch.as_tensor(ours), torch.as_tensor(theirs)
    return (a.double() - b.double()).abs().nan_to_num(torch.inf, torch.inf).max().item()


TABLE = pytest.StashKey[ParityTable]()


@pytest.fixture(scope="session")
def parity(pytestconfig):
    """`ParityTable.compare`: asserts that our numbers are an oracle's, and notes how far apart they are."""
    return pytestconfig.stash.setdefault(TABLE, ParityTable()).compare


def pytest_sessionfinish(session):
    """One of several processes that share the tests hands its part of the table over."""
    if TABLE in session.config.stash and hasattr(session.config, "workeroutput"):
        largest = session.config.stash[TABLE].largest
        session.config.workeroutput["parity"] = [[*names, value] for names, value in largest.items()]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    table = node.config.stash.setdefault(TABLE, ParityTable())
    for algorithm, oracle, value in getattr(node, "workeroutput", {}).get("parity", ()):
        table.largest[algorithm, oracle] = max(value, table.largest.get((algorithm, oracle), 0.0))


def pytest_terminal_summary(terminalreporter, config):
    if TABLE in config.stash and config.stash[TABLE].largest:
        terminalreporter.section("compared with others: values and gradients")
        for line in config.stash[TABLE].lines():
            terminalreporter.write_line(line)
