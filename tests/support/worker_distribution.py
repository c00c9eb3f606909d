"""How `pytest -n` spreads the tests over its worker processes."""

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

FIRST = ("tests/chaos", "tests/cluster", "tests/e2e", "tests/integration/embedded")
"""What the first worker starts with. A file of the last folder takes a minute, and must not be what all others wait for."""


class SystemsOnOneWorker(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Keep a file's tests together; the first worker starts with the folders in FIRST, all others with the first of all.

    `e2e`, `chaos` and `cluster` run whole systems of ten processes or more. A folder's files share systems, which end with the
    last of them, and a test of faults and liveness must not compete with a second system for the cores. Inside a folder the order
    stays, as what a file leaves in a shared system is seen by the files after it.
    """

    def _assign_work_unit(self, node: WorkerController) -> None:
        if node is self.nodes[0]:
            waiting = {_folder(file) for file in self.workqueue}
            last = _folder(next(reversed(self.workqueue)))
            folder = next((folder for folder in FIRST if folder in waiting), last)
            first = next(file for file in self.workqueue if _folder(file) == folder)
            self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)


def _folder(file: str) -> str:
    return file.rpartition("/")[0]
