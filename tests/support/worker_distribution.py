"""How `pytest -n` spreads the tests over its worker processes."""

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController


class SystemsOnOneWorker(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Keep a file's tests together; the first worker starts with the last folder, all others with the first.

    The last folders, `e2e` and `chaos`, run whole systems of ten processes. Their files share systems that live as long as
    the worker, and a test of faults and liveness must not compete with a second system for the cores. Inside a folder the
    order stays, as what a file leaves in a shared system is seen by the files after it.
    """

    def _assign_work_unit(self, node: WorkerController) -> None:
        if node is self.nodes[0]:
            folder = _folder(next(reversed(self.workqueue)))
            first = next(file for file in self.workqueue if _folder(file) == folder)
            self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)


def _folder(file: str) -> str:
    return file.rpartition("/")[0]
