"""Settings shown as the file would say them: defaults filled in, human units, secrets masked.

Pure. Neighbours: `cutover check` prints it, the admin API answers it, tests load it again.
"""

from typing import Annotated, Any, Final, Literal, get_args, get_origin

import yaml

from proxy.settings.scalars import Scalar
from proxy.settings.schema import Settings
from proxy.settings.section import Section
from proxy.settings.yaml_source import resolve_plain

UserLists = Literal["full", "counts"]
_WIDTH: Final = 110


def effective_settings(settings: Settings, *, user_lists: UserLists = "full") -> dict[str, Any]:
    """A JSON-able mapping in the contract's key order; with `user_lists="counts"` users are only counted."""
    shown = _section(settings)
    if user_lists == "counts":
        users = shown["rollout"]["users"]
        shown["rollout"]["users"] = {name: len(listed) for name, listed in users.items()}
    return shown


def effective_yaml(settings: Settings, *, user_lists: UserLists = "full") -> str:
    """The same as YAML that a configuration file could hold, secrets apart."""
    values = effective_settings(settings, user_lists=user_lists)
    return yaml.dump(
        values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=_WIDTH
    )


def scalar_in(annotation: object, metadata: object = ()) -> Scalar | None:
    """The scalar that a field, an item or a mapping's value is annotated with."""
    if get_origin(annotation) is Annotated:
        metadata = annotation.__metadata__  # type: ignore[attr-defined]  # what Annotated[...] objects have
    listed = metadata if isinstance(metadata, tuple | list) else ()
    return next((one for one in listed if isinstance(one, Scalar)), None)


def _section(section: Section) -> dict[str, Any]:
    return {
        name: written_value(getattr(section, name), field.annotation, scalar_in(field.annotation, field.metadata))
        for name, field in type(section).model_fields.items()
    }


def written_value(value: Any, annotation: object, scalar: Scalar | None) -> Any:  # noqa: ANN401 - any field's
    """What the file would say for the value of a field of this type."""
    if scalar is not None:
        return _escaped(scalar.display(value))
    if isinstance(value, Section):
        return _section(value)
    inner = get_args(annotation)
    if isinstance(value, tuple):
        return [written_value(item, inner[0], scalar_in(inner[0])) for item in value]
    return {name: written_value(item, inner[1], scalar_in(inner[1])) for name, item in value.items()}


def _escaped(value: Any) -> Any:  # noqa: ANN401 - any shown value
    """The same with `${` in its texts written so that it is not expanded."""
    if isinstance(value, dict):
        return {name: _escaped(item) for name, item in value.items()}
    return value.replace("${", "$${") if isinstance(value, str) else value


class _Dumper(yaml.SafeDumper):
    """Quotes whatever this package's reader, unlike PyYAML's, would not take for text."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML names it
        """Write every value out."""
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = type(resolve_plain(text)) is str
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else "'")


_Dumper.add_representer(str, _represent_text)
