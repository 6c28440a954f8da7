"""Walks the trees of a snapshot and makes on disk what they describe.

Folders are made on the way down, files are filled while the walk goes on, hard links follow when their files are
complete, and folders get their metadata last, from the leaves to the root, since every new entry changes their times.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from opsuite_kernel.errors import NotFound
from opsuite_repository.errors import Damaged
from opsuite_repository.format.snapshots import Snapshot
from opsuite_repository.format.trees import Node, NodeType
from opsuite_repository.pipeline.engines import Writers
from opsuite_repository.pipeline.excludes import Leading, Patterns
from opsuite_repository.pipeline.fetching import Fetcher
from opsuite_repository.pipeline.findings import writing_failed
from opsuite_repository.pipeline.placing import make_folder, remove_folder
from opsuite_repository.pipeline.processes import HelperPool
from opsuite_repository.pipeline.progress import Meter
from opsuite_repository.pipeline.restore_request import Overwrite, RestoreRequest, RestoreResult
from opsuite_repository.pipeline.restoring_files import FileRestorer
from opsuite_repository.pipeline.selection import join
from opsuite_repository.pipeline.work import Course
from opsuite_repository.repository import Repository

FILES_BEFORE_RECRUITING: Final = 512
"""So many files are written by this process alone: others take as long to start."""


def subfolder(repository: Repository, snapshot: Snapshot, path: bytes) -> list[Node]:
    """The entries of a folder in the snapshot, or the one file that is there. Raises NotFound, Damaged."""
    nodes = repository.read_tree(snapshot.tree)
    for part in filter(None, path.split(b"/")):
        node = next((node for node in nodes if node.name == part), None)
        if node is None:
            raise NotFound("path", os.fsdecode(path))
        nodes = [node] if node.subtree is None else repository.read_tree(node.subtree)
    return nodes


class Restorer:
    """One restore."""

    def __init__(
        self, repository: Repository, request: RestoreRequest, course: Course, meter: Meter, pool: HelperPool
    ) -> None:
        self._repository = repository
        self._request = request
        self._course = course
        self._chosen = Chosen(request)
        self._fetcher = Fetcher(repository, course)
        self._files = FileRestorer(request, self._fetcher, meter)
        self._writers = Writers(pool, repository.key.master, self._files.landing, self._fetcher, course)
        self._folders: list[tuple[bytes, Node]] = []
        self._folder_count = self._deleted = 0

    def run(self, root: list[Node]) -> None:
        """Restore these nodes into the target."""
        try:
            self._walk(root)
            self._fetcher.flush()
        except BaseException as error:
            self._course.fail(error)
            raise
        finally:
            self._writers.stop()
            self._fetcher.close()
            self._writers.close()
            if self._course.has_failed:
                self._files.discard()
        self._course.check()
        self._files.link()
        for path, node in reversed(self._folders):
            self._files.describe(path, node)
        self._files.verify(self._course.check)

    def result(self) -> RestoreResult:
        """What came of it."""
        files = self._files
        return RestoreResult(
            files_restored=files.restored,
            files_unchanged=files.unchanged,
            folders_restored=self._folder_count,
            others_restored=files.others,
            deleted=self._deleted,
            bytes_restored=files.restored_bytes,
            files_verified=files.verified,
            findings=tuple(files.findings),
        )

    def _walk(self, root: list[Node]) -> None:
        target = os.fsencode(self._request.target)
        if not self._request.dry_run:
            self._request.target.mkdir(parents=True, exist_ok=True)
        stack = [self._entered(_Level(target, b"", None, None, is_selected=self._chosen.is_everything), root)]
        while stack:
            self._course.check()
            level, nodes = stack[-1]
            node = next(nodes, None)
            if node is None:
                stack.pop()
            elif (entered := self._visit(level, node)) is not None:
                stack.append(entered)

    def _visit(self, above: _Level, node: Node) -> _Entered | None:
        """Restore one entry; the folder to walk into, if it is one."""
        location, path = above.location + b"/" + node.name, join(above.path, node.name)
        is_selected = self._chosen.selects(location)
        try:
            if node.type is NodeType.DIR:
                return self._folder(_Level(path, location, node, above, is_selected=is_selected))
            if is_selected:
                self._make(above)
                self._files.restore(path, node, in_new_folder=above.is_new)
                if self._files.begun > FILES_BEFORE_RECRUITING:
                    self._writers.recruit()
        except (OSError, Damaged) as error:
            self._files.found(writing_failed(path, error))
        return None

    def _folder(self, level: _Level) -> _Entered | None:
        if not (level.is_selected or self._chosen.may_select_below(level.location)):
            return None
        if level.is_selected:
            self._make(level)
        if level.node is None or level.node.subtree is None:
            raise Damaged(f"the entry {os.fsdecode(level.location)}", "it is a folder without a tree")
        return self._entered(level, self._repository.read_tree(level.node.subtree))

    def _entered(self, level: _Level, nodes: list[Node]) -> _Entered:
        """The walk into a folder. Two entries of one name could lead a file through a link, out of the target."""
        if any(one.name >= other.name for one, other in pairwise(nodes)):
            raise Damaged(f"the tree of {os.fsdecode(level.location) or '/'}", "its names are not in order")
        if self._request.delete and (level.is_selected or level.node is None):
            self._delete_others(level, {node.name for node in nodes})
        return _Entered(level, iter(nodes))

    def _make(self, level: _Level) -> None:
        """Have the folder, and those above it. Raises OSError."""
        if level.is_made:
            return
        level.is_made = True
        if level.above is None or level.node is None:
            return
        self._make(level.above)
        self._folder_count += 1
        if self._request.dry_run:
            return
        keep = self._request.overwrite is Overwrite.NEVER
        level.is_new = make_folder(level.path, replace=not keep)
        if level.is_new or not keep:
            self._folders.append((level.path, level.node))

    def _delete_others(self, level: _Level, names: set[bytes]) -> None:
        """Remove what the snapshot does not have, as far as it is selected."""
        try:
            with os.scandir(level.path) as entries:
                others = [entry for entry in entries if entry.name not in names]
        except FileNotFoundError:  # a dry run, or a folder that is only made when something is put into it
            return
        for entry in others:
            if not self._chosen.selects(level.location + b"/" + entry.name):
                continue
            try:
                self._deleted += self._removed(entry)
            except OSError as error:
                self._files.found(writing_failed(entry.path, error))

    def _removed(self, entry: os.DirEntry[bytes]) -> int:
        if self._request.dry_run:
            return 1
        if entry.is_dir(follow_symlinks=False):
            return remove_folder(entry.path)
        os.unlink(entry.path)  # noqa: PTH108  # the path is bytes
        return 1


class _Level:
    """A folder the walk is in."""

    def __init__(
        self, path: bytes, location: bytes, node: Node | None, above: _Level | None, *, is_selected: bool
    ) -> None:
        self.path = path
        self.location = location
        """Inside the snapshot."""
        self.node = node
        self.above = above
        self.is_selected = is_selected
        self.is_made = False
        self.is_new = False
        """Whether nothing was there before, so that nothing can be in it."""


class _Entered(NamedTuple):
    level: _Level
    nodes: Iterator[Node]


class Chosen:
    """What of a snapshot is to be restored."""

    def __init__(self, request: RestoreRequest) -> None:
        self._includes = Patterns(request.includes, request.case_insensitive_includes)
        self._leading = Leading(request.includes, request.case_insensitive_includes)
        self._excludes = Patterns(request.excludes, request.case_insensitive_excludes)
        self.is_everything = not self._includes

    def selects(self, location: bytes) -> bool:
        """Whether this is to be restored."""
        return (self.is_everything or self._includes.match(location)) and not self._excludes.match(location)

    def may_select_below(self, location: bytes) -> bool:
        """Whether something below a folder may be, that is not itself."""
        return not self.is_everything and self._leading.match(location) and not self._excludes.match(location)
