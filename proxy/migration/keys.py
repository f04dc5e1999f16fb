"""From a row's key to its item's key, and back. Pure.

Possible because `mapping_rules` holds both to each other: DynamoDB's key is made of key columns only, and every key
column stands in an attribute as it is.
"""

from collections.abc import Mapping as Mappings
from typing import Any

from proxy.migration.mapping import Kind, Mapping
from proxy.migration.mapping_rules import PLACEHOLDER, key_attribute
from proxy.migration.queries import Key
from proxy.migration.sizes import Item
from proxy.migration.values import Unconvertible, number_text

ItemKey = tuple[tuple[str, Any], ...]
"""An item's key as something that can be looked up: type and value of each key attribute."""


class Keys:
    """Both directions, for one mapping and one table."""

    def __init__(self, mapping: Mapping, keys: Mappings[str, str]) -> None:
        self._mapping = mapping
        self._keys = tuple(keys)
        self._of_rows = tuple(key_attribute(mapping, column) or "" for column in mapping.key)
        self.attributes = tuple(dict.fromkeys((*keys, *self._of_rows)))

    def __repr__(self) -> str:
        return f"<Keys {self._of_rows} <-> {self._keys}>"

    def item_key(self, key: Key) -> Item:
        """The key of the item of a row."""
        known = {name: self._typed(name, text) for name, text in zip(self._of_rows, key, strict=True)}
        return {name: known[name] if name in known else self._made(name, known) for name in self._keys}

    def row_key(self, item: Mappings[str, Any]) -> Key | None:
        """The key of the row of an item; None for an item that can be of no row."""
        found = []
        for name in self._of_rows:
            value = item.get(name, {})
            text = value.get("N" if self._mapping.attributes[name].type == Kind.NUMBER else "S")
            if text is None or "\0" in text:
                return None
            found.append(text)
        key = tuple(found)
        return key if {name: item.get(name) for name in self._keys} == self.item_key(key) else None

    def of(self, item: Mappings[str, Any]) -> ItemKey:
        """What an item is looked up by."""
        return tuple(next(iter(item[name].items())) for name in self._keys)

    def _typed(self, name: str, text: str) -> dict[str, Any]:
        if self._mapping.attributes[name].type != Kind.NUMBER:
            return {"S": text}
        try:
            return {"N": number_text(text)}
        except Unconvertible:
            return {"N": text}

    def _made(self, name: str, known: Mappings[str, dict[str, Any]]) -> dict[str, Any]:
        attribute = self._mapping.attributes[name]
        if attribute.template is None:
            constant = attribute.constant
            return {"N": str(constant)} if isinstance(constant, int) else {"S": str(constant)}

        def text_of(found: Any) -> str:  # noqa: ANN401 - re.Match
            value = known.get(found[1]) or self._made(found[1], known)
            return str(next(iter(value.values())))

        return {"S": PLACEHOLDER.sub(text_of, attribute.template)}
