"""`debut explore`: new items get a chance, and what comes of it is learned, without training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from models.pseudonyms import read_key
from pipeline.commands.changing import changing
from pipeline.commands.configuring import PATH, configuration_options, override_option, root_option
from pipeline.commands.failures import debug_option
from pipeline.counted import counted

if TYPE_CHECKING:
    from components.exploration.update import Explored


@click.command(
    epilog="""\b
Examples:
  debut explore --root runs --set explore.policy=thompson
  debut explore --root runs --log feedback --key SHOP_KEY --config explore.yaml

Ends with 0 where a version was pushed, 2 for bad input, 3 where a gate refused it.""",
)
@root_option
@click.option(
    "--log",
    type=PATH,
    metavar="DIR",
    help="Folder of the feedback log. Without it exploration begins.",
)
@click.option(
    "--key",
    metavar="NAME",
    help="Environment variable with the key for user ids that the log was written with.",
)
@configuration_options
@override_option("the gate on what was learned")
@debug_option
def explore(
    root: Path, log: Path | None, key: str | None, config: Path | None, settings: tuple[str, ...],
    override: str,
) -> None:  # fmt: skip
    """Give new items a bounded share of the places, and learn from the feedback log.

    Options are those of the section `explore`: --set takes no other, a file may hold those of other
    commands. Everything is learned anew from the log each time, so the same log may be given again
    and again. A running server takes the version up by itself.
    """
    if log is not None and key is None:
        raise click.UsageError("Give --key too: --log was written with a key for user ids.")
    if log is None and key is not None:
        raise click.UsageError(
            "Give --log too: --key is that of a log. Without both, exploration begins anew."
        )
    secret = b"" if key is None else read_key(key)
    from pipeline.commands.terminal import loading, open_console
    from pipeline.config import load_configuration

    options = load_configuration(config, settings, read=("explore",)).explore
    with changing(root) as candidate:
        with loading("TensorFlow", open_console()):
            from pipeline.changes.exploring import explore_items
        with open_console().status("Learning, validating and pushing"):
            made, done = explore_items(candidate, log, options, key=secret, override=override)
    for line in _told(done, policy=options.policy, key=key):
        click.echo(line)
    if done.is_overridden:
        click.echo(f"A gate's refusal was overridden: {override}")
    click.echo(f"Pushed {made.version}, made of version {made.base.name}.")


def _told(done: Explored, *, policy: str, key: str | None) -> list[str]:
    if policy == "none":
        return ["explore.policy is none: no place is explored, and nothing learned is applied."]
    told = [
        f"{counted(done.lists, 'list', 'lists')} read: "
        f"{counted(done.places, 'place', 'places')} with new items brought "
        f"{counted(done.rewards, 'reward', 'rewards')}."
    ]
    if done.lists and done.strangers == done.lists:
        told.append(
            f"The model knows none of their users. If it should, {key} is not the key that the log "
            "was written with."
        )
    if done.bad_lines:
        lines = counted(done.bad_lines, "line", "lines")
        told.append(f"Passed over {lines} of the log without an event.")
    if (judgement := done.judgement) is not None:
        told.append(
            f"Reward per explored place: {judgement.logged.value:.4f} as logged, "
            f"{judgement.doubly_robust.value:.4f} estimated for what was learned "
            f"(SNIPS {judgement.snips.value:.4f}, IPS {judgement.ips.value:.4f}, "
            f"replay {judgement.replay.value:.4f}), on "
            f"{counted(judgement.places, 'place', 'places')}."
        )
    explored = counted(done.items, "item is explored", "items are explored")
    spent = counted(done.spent, "has spent its budget", "have spent their budget")
    return [*told, f"{explored}, {spent}."]
