"""The embedded gallery and the story `cutover demo` tells with it (extra `demo`).

Everything in here is a stand-in for somebody's production: a legacy gallery API on PostgreSQL, an Image Service
on DynamoDB, users that read and write, and a rollout that one of the two does not survive unharmed. The sidecar
is run as a real process and seen from outside only. This package must not be imported by the data plane.

    model, validation, seed   the gallery's one data model: its JSON, cursors, rules and content
    gallery_app, store, postgres_store, dynamodb_store   the same HTTP handlers over two databases
    legacy_api, image_service, serve   the two processes; latency, dual_write, cdn and faults belong to them
    processes, leash, postgres_server, dynamodb_server, gallery   starting, killing and removing all of it
    load, traffic, checks, stats, compare   the users, what they may never see, and the arithmetic
    sidecar, story, display, summary, report, run   the rollout, told live, and its verdict
"""
