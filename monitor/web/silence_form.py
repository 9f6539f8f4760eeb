"""The form of a silence: text fields in which people list names, and what they come to."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from monitor.rules import Match
from monitor.silences import SilenceScope
from monitor.web.querying import MAX_NAME, MAX_SEQ, no_nul
from monitor.web.signed import Text

FIELDS = ("deployment", "dag_id", "task_id", "type", "tags", "owners", "run_type", "asset")
"""Of a match, in the order of the form."""

Names = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_NAME), AfterValidator(no_nul)]
"""Several, with commas between them."""


class SilenceForm(BaseModel):
    model_config = ConfigDict(extra="ignore")  # the CSRF token comes with it
    deployment: Names = ""
    dag_id: Names = ""
    task_id: Names = ""
    type: Names = ""
    tags: Names = ""
    owners: Names = ""
    run_type: Names = ""
    asset: Names = ""
    until: str = ""
    own_end: str = ""
    reason: Text = ""
    incident: Annotated[int, Field(ge=1, le=MAX_SEQ)] | None = None
    """What this incident is about, instead of the fields above."""
    whole_airflow: bool = False
    action: Literal["", "preview", "confirm"] = ""

    @property
    def is_question(self) -> bool:
        """Whether only the preview is asked for."""
        return self.action == "preview"

    @property
    def is_filled(self) -> bool:
        return self.incident is not None or self.whole_airflow or any(getattr(self, name) for name in FIELDS)

    @property
    def is_confirmed(self) -> bool:
        """Whether somebody has seen what silencing a whole Airflow means, and said yes."""
        return self.action == "confirm"

    def given(self) -> dict[str, Any]:
        """What was filled in, for the address of the same form."""
        return self.model_dump(mode="json", exclude={"action"}, exclude_defaults=True)

    def match(self) -> Match:
        """Raises ValueError, whose message is for people."""
        given = {name: _names(getattr(self, name)) for name in FIELDS if getattr(self, name)}
        try:
            return Match.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None

    def spelt_out(self, scope: SilenceScope) -> "SilenceForm":
        """The same with the fields filled in, where what the incident is about can be said by them: whoever
        sees them may narrow them."""
        if self.incident is None or scope.incident is not None:
            return self
        filled = {name: ", ".join(getattr(scope.match, name)) for name in ("deployment", "dag_id")}
        return self.model_copy(update={**filled, "incident": None})

    def why(self) -> str:
        """Raises ValueError."""
        if not self.reason:
            raise ValueError("reason: is empty; others want to know why nobody is notified")
        return self.reason


def _names(text: str) -> list[str]:
    return [name for part in text.split(",") if (name := part.strip())]
