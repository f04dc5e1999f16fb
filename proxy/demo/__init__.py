"""The embedded gallery and the story `cutover demo` tells with it (extra `demo`).

Everything in here is a stand-in for somebody's production: a legacy gallery API on PostgreSQL, an Image Service
on DynamoDB, users that read and write, and a rollout that one of the two does not survive unharmed. The sidecar
is run as a real process and seen from outside only. This package must not be imported by the data plane.

    model, validation   the gallery's one data model, its JSON, cursors and rules
    postgres_store, dynamodb_store, gallery_app   two stores behind the same HTTP handlers
    legacy_api, image_service   the two processes; dual_write, cdn, faults belong to them
    postgres_server, dynamodb_server, processes, gallery   starting, killing and removing all of it
    load, checks, stats   the users, what they may not see, and the arithmetic
    sidecar, story, display, summary   the rollout, told live
"""
