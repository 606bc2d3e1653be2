"""Which tests run here: the GPU tier and tests that need a program; nothing is left out in silence.

A left-out test is deselected, never skipped, and named at the end of the run.  With ``CI=true`` a test that
wants for a program fails instead.  GPU tests run when ``MESHDROP_GPU=1`` promises a GPU, and then a machine
without one fails them.
"""

import os
import shutil
from collections.abc import Iterator

import hypothesis
import pytest
import structlog

# How long an example takes says how busy the machine is, not whether the code is right.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")

LEFT_OUT = pytest.StashKey[dict[str, str]]()
"""Test identifier to the reason why it was left out."""

CHECKOUT_VARIABLE = "MESHDROP_RECONVIAGEN__SOURCE_DIR"
"""The configuration's own word for it."""


def missing_programs(item: pytest.Item) -> list[str]:
    """What the test's ``needs`` markers name and this machine lacks: programs, or the rights of root."""
    wanted = [program for marker in item.iter_markers("needs") for program in marker.args]
    return [name for name in wanted if (os.geteuid() != 0 if name == "root" else shutil.which(name) is None)]


def reason_to_leave_out(item: pytest.Item) -> str | None:
    """Why this test cannot run here, or None."""
    if item.get_closest_marker("gpu") and os.environ.get("MESHDROP_GPU") != "1":
        return "GPU tier: no GPU was promised (MESHDROP_GPU=1)"
    if item.get_closest_marker("checkout") and CHECKOUT_VARIABLE not in os.environ:
        return f"no ReconViaGen checkout was named ({CHECKOUT_VARIABLE})"
    missing = missing_programs(item)
    if missing and os.environ.get("CI") != "true":
        return f"not installed: {', '.join(missing)}"
    return None


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEFT_OUT] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = {item: reason for item in items if (reason := reason_to_leave_out(item))}
    config.stash[LEFT_OUT].update({item.nodeid: reason for item, reason in reasons.items()})
    config.hook.pytest_deselected(items=list(reasons))
    items[:] = [item for item in items if item not in reasons]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if missing := missing_programs(item):
        pytest.fail(f"needs {', '.join(missing)}; with CI=true no test may be left out", pytrace=False)


def pytest_sessionfinish(session: pytest.Session) -> None:
    worker_output = getattr(session.config, "workeroutput", None)  # in the processes of pytest-xdist only
    if worker_output is not None:
        worker_output["left_out"] = session.config.stash[LEFT_OUT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Every process of pytest-xdist collects the same tests; take over what it left out."""
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    config.stash[LEFT_OUT].update(getattr(node, "workeroutput", {}).get("left_out", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    left_out = terminalreporter.config.stash[LEFT_OUT]
    if left_out:
        terminalreporter.section("left out on this machine")
        for node_id, reason in sorted(left_out.items()):
            terminalreporter.line(f"{node_id} ({reason})")


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """A test that sets up logging holds pytest's own standard error, which is closed when the test ends."""
    yield
    structlog.reset_defaults()
