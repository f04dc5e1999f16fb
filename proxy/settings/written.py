"""A section of the configuration as it is written, placeholders unresolved: whether a person has changed it.

Comments, quotes around the same text and line breaks do not count; the text of each scalar does. Neighbour: `load`
keeps the fingerprint of `rollout`, by which an override knows when it is over.
"""

import hashlib

from proxy.settings.yaml_source import MappingNode, Node, ScalarNode, SequenceNode, read_nodes


def fingerprint_of(text: str, key: str) -> str:
    """A digest of what a top-level key has for its value; "" when the key is not there.

    The text must have been read as a valid configuration before: its aliases are expanded here.
    """
    root = read_nodes(text)
    for name, value in root.entries if isinstance(root, MappingNode) else ():
        if isinstance(name, ScalarNode) and name.text == key:
            return hashlib.sha256(repr(_plain(value)).encode()).hexdigest()[:16]
    return ""


def _plain(node: Node) -> object:
    if isinstance(node, ScalarNode):
        return node.text
    if isinstance(node, SequenceNode):
        return [_plain(item) for item in node.items]
    return [(_plain(name), _plain(value)) for name, value in node.entries]
