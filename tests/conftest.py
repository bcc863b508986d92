"""What the tests of the whole graph share."""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest

from data_contracts.project_paths import ALLOW_VARIABLE
from tests.small_project import CONFIG, small_project

os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("DO_NOT_TRACK", "1")
# Two test processes share two cores: with two threads each, networks took half as long again.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@contextmanager
def hidden_name() -> Iterator[None]:
    """Hide what tells tests apart: a worker is kept for the jobs of one environment."""
    name = os.environ.pop("PYTEST_CURRENT_TEST", None)
    try:
        yield
    finally:
        if name is not None:
            os.environ["PYTEST_CURRENT_TEST"] = name


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup() -> Generator[None, object, object]:
    with hidden_name():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    with hidden_name():
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def _allowed_folder(tmp_path_factory):
    """Let the sample project keep its work in folders of tests; one value, so that workers are kept between tests."""
    os.environ[ALLOW_VARIABLE] = str(tmp_path_factory.getbasetemp())


@pytest.fixture
def allowed(tmp_path):
    """Return a folder in which the sample project may keep its work."""
    return tmp_path


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """Return the workspace of one finished run of the small project, read-only for the tests that share it."""
    from flows.build_all import build_all

    folder = tmp_path_factory.mktemp("finished")
    build_all.fn(CONFIG, small_project(folder / "work"))
    return folder / "work"
