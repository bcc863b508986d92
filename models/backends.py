"""The backends of a job, by the names that a configuration calls them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from models.weights import MissingWeights, Need

Job = TypeVar("Job")


@dataclass(frozen=True)
class Backend(Generic[Job]):
    """One way to do a job.

    make: imports the backend's module and returns the backend; called with what `Backends.load` was given.
    needs: the weights and packages without which it cannot work.
    """

    make: Callable[..., Job]
    needs: tuple[Need, ...] = ()


class Backends(Mapping[str, Backend[Job]]):
    """All backends of one job, such as "segmenter"."""

    def __init__(self, job: str, known: Mapping[str, Backend[Job]]) -> None:
        self.job = job
        self._known = dict(known)

    def __getitem__(self, name: str) -> Backend[Job]:
        """Return the backend called `name`.

        Raises:
            ValueError: no backend has this name; the message names them all.
        """
        if name not in self._known:
            message = f"no {self.job} is called {name!r}; known are: {', '.join(self._known)}"
            raise ValueError(message)
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        """Whether a backend has this name."""
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._known)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._known)

    def why_lacking(self, name: str) -> str:
        """Return why the backend called `name` cannot work on this machine; empty where it can."""
        return next(filter(None, map(why_missing, self[name].needs)), "")

    def require(self, name: str) -> None:
        """Check that the backend called `name` can work here, without making it.

        Raises:
            ValueError: no backend has this name.
            MissingWeights: something it needs is not on this machine.
        """
        for need in self[name].needs:
            need.path()

    def load(self, name: str, *given: object) -> Job:
        """Return the backend called `name`, made from what is `given`.

        Raises:
            ValueError: no backend has this name.
            MissingWeights: something it needs is not on this machine.
        """
        self.require(name)
        return self[name].make(*given)


def why_missing(need: Need) -> str:
    """Return what is said of a need that is not met on this machine, with its remedy; empty where it is."""
    try:
        need.path()
    except MissingWeights as error:
        return str(error)
    return ""
