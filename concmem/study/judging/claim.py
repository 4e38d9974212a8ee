"""A claim, the versions on which it depends, and the verdict of a study on it."""

from __future__ import annotations

from typing import Literal

import attrs

from concmem.study.judging.judges import Judge
from concmem.study.judging.verdicts import Cells

__all__ = ["Claim", "Verdict", "Version"]


@attrs.frozen
class Verdict:
    """
    The verdict of a study on a claim.

    Attributes:
        key: The claim's short name.
        tasks: The number of tasks that it is about.
        claim: The claim, in our words.
        found: The figures that were found.
        verdict: The verdict.
        why: The condition under which the claim holds, or why it cannot be judged.
        version: The version on which the verdict depends, and the verdict with another one; "" if none is known.
    """

    key: str
    tasks: int
    claim: str
    found: str
    verdict: Literal["holds", "does not hold", "cannot be judged"]
    why: str
    version: str = ""


@attrs.frozen
class Version:
    """
    A version on which a verdict depends.

    Attributes:
        known: What is known about other versions, in one sentence with its source. It is shown if the study has no
            figure of `other`.
        program, other: A program, and the same program with another version. The claim is judged with the figures of
            `other` too.
    """

    known: str
    program: str = ""
    other: str = ""


@attrs.frozen
class Claim:
    """
    One claim of the article.

    Attributes:
        key: A short name.
        tasks: The number of tasks that it is about.
        claim: The claim, in our words.
        reading: The condition under which it holds.
        judge: The function that judges it.
        versions: The versions on which the verdict depends.
    """

    key: str
    tasks: int
    claim: str
    reading: str
    judge: Judge = attrs.field(repr=False)
    versions: tuple[Version, ...] = ()

    def verdict(self, cells: Cells) -> Verdict:
        """Judge the claim by these figures."""
        answer, found = self.judge(cells, self.tasks)
        version = "; ".join(self._with_version(cells, each) for each in self.versions)
        why = answer.obstacle if answer.holds is None else self.reading
        return Verdict(self.key, self.tasks, self.claim, found, _WORDS[answer.holds], why, version)

    def _with_version(self, cells: Cells, version: Version) -> str:
        if not (rows := cells.good((version.other, self.tasks))):
            return version.known
        answer, found = self.judge(cells.with_replaced(version.program, version.other), self.tasks)
        return f"with {rows[0].toolchain} it {_WORDS[answer.holds]}: {found}"


_WORDS: dict[bool | None, Literal["holds", "does not hold", "cannot be judged"]] = {
    True: "holds",
    False: "does not hold",
    None: "cannot be judged",
}
