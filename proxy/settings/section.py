"""What every section of the configuration has in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping of known keys: immutable, an unknown key is an error, pydantic's messages show no value."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
