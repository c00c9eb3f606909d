"""What a check found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's: `remedy` says what to do and is empty where all is well."""

    subject: str
    detail: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing has to be done."""
        return not self.remedy

    def lines(self) -> list[str]:
        """In words."""
        first = f"{'ok     ' if self.ok else 'PROBLEM'}  {self.subject}: {self.detail}"
        return [first] if self.ok else [first, f"         -> {self.remedy}"]
