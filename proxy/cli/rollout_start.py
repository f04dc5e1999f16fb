"""`cutover rollout start` and `rehearse`: the two that take a plan and change something."""

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proxy.rollout.controller import Controller
    from proxy.rollout.decision import State
    from proxy.rollout.journal import Journal
    from proxy.rollout.plan import Plan
    from proxy.rollout.plan_file import LoadedPlan

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def add_commands(commands: Any) -> None:  # noqa: ANN401 - argparse has no public name for it
    """Declare the arguments."""
    start = commands.add_parser(
        "start",
        help="run a plan, in the foreground; again after a crash: it goes on where it was",
        description="Run a plan, in the foreground. Exit status 0 completed, 1 rolled back, aborted or stopped.",
        epilog="example: cutover rollout start config/rollout/production.yaml",
    )
    start.add_argument("plan", metavar="PLAN", type=Path, help="the plan")
    start.add_argument("--no-owner", action="store_true", help="go without an approver and an on-call (journalled)")
    start.add_argument("--no-rehearsal", action="store_true", help="go without a rehearsal (journalled)")
    start.add_argument("--journal", metavar="FILE", type=Path, help="instead of the plan's journal")
    start.add_argument(
        "--once", action="store_true", help="never begin again, and stay when it is over: for a Deployment"
    )
    start.set_defaults(do=execute_start)
    rehearse = commands.add_parser(
        "rehearse",
        help="move a cohort of test users there and back, and measure how long each takes",
        description="Add a cohort to users.target, see it served by the target, remove it, see it served by legacy.",
        epilog="example: cutover rollout rehearse config/rollout/production.yaml --users cohort.txt",
    )
    rehearse.add_argument("plan", metavar="PLAN", type=Path, help="the plan")
    rehearse.add_argument("--users", metavar="FILE", type=Path, required=True, help="user ids, one a line")
    rehearse.add_argument("--url", metavar="URL", help="where the sidecar serves; the configuration's `listen` if not")
    rehearse.add_argument("--path", default="/images", help="what each user asks for (default /images)")
    rehearse.add_argument("--journal", metavar="FILE", type=Path, help="instead of the plan's journal")
    rehearse.add_argument("--json", action="store_true", help="print JSON")
    rehearse.set_defaults(do=execute_rehearse)


def execute_start(args: argparse.Namespace) -> int:
    """Run it: 0 completed, 1 otherwise. Raises ConfigError."""
    from proxy.cli.rollout_once import run_once  # noqa: PLC0415 - `cutover run` does without
    from proxy.rollout.journal import Journal, JournalError  # noqa: PLC0415
    from proxy.rollout.lock import AlreadyRunning, controller_lock  # noqa: PLC0415
    from proxy.rollout.plan_file import load_plan  # noqa: PLC0415

    loaded = load_plan(args.plan, os.environ)
    for warning in loaded.warnings:
        print(f"warning: {args.plan}: {warning}", file=sys.stderr)
    path = args.journal or Path(loaded.plan.journal)
    try:
        with controller_lock(path), Journal(path) as journal:
            if args.once:
                return run_once(lambda: asyncio.run(_run(args, loaded, journal)), journal, path)
            return asyncio.run(_run(args, loaded, journal))
    except (AlreadyRunning, JournalError) as error:
        print(f"cutover rollout start: {error}", file=sys.stderr)
    except OSError as error:
        print(f"cutover rollout start: {path}: {error.strerror or error}", file=sys.stderr)
    except ImportError as error:
        print(f"cutover rollout start: {error.name} is missing: pip install 'cutover[rollout]'", file=sys.stderr)
    return 1


async def _run(args: argparse.Namespace, loaded: "LoadedPlan", journal: "Journal") -> int:
    from proxy.rollout.controller import Controller, Surroundings  # noqa: PLC0415
    from proxy.rollout.hooks import Hooks  # noqa: PLC0415
    from proxy.rollout.observers import open_observers  # noqa: PLC0415
    from proxy.rollout.pages import open_pages  # noqa: PLC0415
    from proxy.rollout.publishing import Publisher  # noqa: PLC0415
    from proxy.rollout.record import Record  # noqa: PLC0415
    from proxy.rollout.stores import StoreError, open_store  # noqa: PLC0415
    from proxy.rollout.time_source import SystemTime  # noqa: PLC0415

    plan, time = loaded.plan, SystemTime()
    waived = {word for word, given in (("owner", args.no_owner), ("rehearsal", args.no_rehearsal)) if given}
    hooks = Hooks(plan.hooks, time, lost=_say_error)
    around = Surroundings(
        store=open_store(plan, os.environ),
        observer=open_observers(plan),
        record=Record(journal, time),
        time=time,
        hooks=hooks,
        say=_say,
        newest_plan=lambda: _plan_now(args.plan, plan),
        waived=frozenset(waived),
    )
    controller = Controller(plan, around)
    publisher = Publisher(journal, open_pages(plan, os.environ), time, _say_error)
    try:
        await _begin_or_resume(controller, around.record, loaded, sorted(waived))
        publisher.start()
        return await _until_the_end(controller, around.record)
    except (StoreError, ValueError) as error:
        _say_error(str(error))
        return 1
    finally:
        await publisher.close()
        await hooks.close()
        await around.observer.close()
        await around.store.close()


async def _begin_or_resume(controller: "Controller", record: Any, loaded: "LoadedPlan", waived: list[str]) -> None:  # noqa: ANN401 - a Record
    from proxy.rollout.plan_words import check_as_json  # noqa: PLC0415 - `cutover run` does without

    plan = loaded.plan
    facts = {
        "plan": str(loaded.path),
        "digest": loaded.digest,
        "stages": [stage.percentage for stage in plan.stages],
        "holds": [stage.hold for stage in plan.stages],
        "checks": [check_as_json(plan, check) for check in plan.checks],
        "interval_s": plan.interval,
        "settle_s": plan.settle,
        "window_s": plan.window,
        "manual": [check.name for check in plan.checks if check.manual],
        "owner": {"approver": plan.owner.approver, "on_call": plan.owner.on_call},
        "waived": waived,
    }
    left = record.resumption()
    if left is None:
        await controller.begin(facts)
        return
    if left.state.stage > 0 and list(left.stages) != facts["stages"]:
        raise ValueError(
            f"a rollout with other stages ({left.stages}) is under way in this journal: abort it first, or use its plan"
        )
    _say(f"going on with run {left.run}: {left.state.phase.value}, stage {left.state.stage}")
    await controller.resume(left, facts)


async def _until_the_end(controller: "Controller", record: Any) -> int:  # noqa: ANN401 - a Record
    loop = asyncio.get_running_loop()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, controller.stop)
    state: State = await controller.run()
    if not state.phase.is_final:
        record.stopped("asked to stop")
        _say(f"stopped; {state.percentage} % stays in force, and `start` goes on from here")
        return 1
    record.stopped(state.phase.value)
    return 0 if state.phase.value == "completed" else 1


def _plan_now(path: Path, plan: "Plan") -> "Plan":
    """The plan as its file says now; what it said before while that is not valid."""
    from proxy.rollout.plan_file import load_plan  # noqa: PLC0415
    from proxy.settings.errors import ConfigError  # noqa: PLC0415

    try:
        newest = load_plan(path, os.environ).plan
    except ConfigError:
        return plan
    return plan.model_copy(update={"owner": newest.owner})


def execute_rehearse(args: argparse.Namespace) -> int:
    """Rehearse: 0 when the cohort went there and back, 1 when not. Raises ConfigError."""
    from proxy.rollout.journal import Journal, JournalError  # noqa: PLC0415
    from proxy.rollout.plan_file import load_plan  # noqa: PLC0415
    from proxy.rollout.rehearsal import RehearsalFailed, Wish, rehearse  # noqa: PLC0415
    from proxy.rollout.time_source import SystemTime  # noqa: PLC0415

    loaded = load_plan(args.plan, os.environ)
    try:
        users = [line.strip() for line in args.users.read_text().splitlines() if line.strip()]
        wish = Wish(tuple(dict.fromkeys(users)), args.url, args.path)
        with Journal(args.journal or Path(loaded.plan.journal)) as journal:
            facts = asyncio.run(rehearse(loaded.plan, wish, journal, SystemTime(), os.environ))
    except (RehearsalFailed, JournalError) as error:
        print(f"cutover rollout rehearse: {error}", file=sys.stderr)
        return 1
    except (OSError, UnicodeDecodeError) as error:
        print(f"cutover rollout rehearse: {args.users}: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(facts, indent=2))
    else:
        print(
            f"{facts['users']} users: on the target after {facts['to_target_s']:.2f} s,"
            f" back on legacy after {facts['to_legacy_s']:.2f} s"
        )
    return 0


def _say(line: str) -> None:
    print(line, flush=True)


def _say_error(line: str) -> None:
    print(f"cutover rollout: {line}", file=sys.stderr, flush=True)
