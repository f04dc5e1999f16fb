"""The staged rollout: a plan's stages, gates that say GO, HOLD or NO_GO, and the way back.

One tick is observe → decide → apply. `statistics`, `checks`, `tally`, `history` and `decision` are pure: they take
facts and return values. `observers` and `stores` are the only ones that talk to anybody, `journal` the only one that
remembers, and `controller` the only one that ties them together.
"""
