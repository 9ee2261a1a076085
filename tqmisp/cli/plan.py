"""``tqmisp plan``: what a run would do."""

from __future__ import annotations

import typer

from tqmisp.cli import common, job, options, render_plan


def plan(
    *,
    full: options.Full = None,
    confirm_retire: options.ConfirmRetire = None,
    score_threshold: options.ScoreThreshold = None,
    status: options.Status = None,
    type: options.Type = None,  # noqa: A002  the word of the field
    exclude_type: options.ExcludeType = None,
    tag: options.Tag = None,
    source: options.Source = None,
    collection: options.Collection = None,
    since: options.Since = None,
    until: options.Until = None,
    publish: options.Publish = None,
    slice_size: options.SliceSize = None,
    distribution: options.Distribution = None,
    sharing_group_id: options.SharingGroupId = None,
    event_tag: options.EventTag = None,
    max_rejects: options.MaxRejects = None,
    config: options.Config = None,
    state: options.State = None,
    json: options.Json = None,
    verbose: options.Verbose = 0,
    log_file: options.LogFile = None,
    log_format: options.LogFormat = None,
    progress: options.Progress = None,
) -> None:
    r"""Show what a run would do now, by type and by event, and how long it would take.

    Nothing is written, neither to MISP nor to the journal. ThreatQ is read as the
    run would read it, MISP is looked at, and everything is decided on a copy of
    the journal among the temporary files. What only MISP itself finds wrong with a
    value cannot be foreseen.

    \b
    Examples:
      tqmisp plan
      tqmisp plan --full --json
      tqmisp plan --score-threshold 7 --type FQDN

    The exit code is the one that the run would have, as far as can be foreseen;
    7 if a run is at work.
    """
    settings = common.settings(config, dict(locals()))
    result = common.run_async(lambda: job.until_signal(settings, lambda export: export.plan(), look=True))
    if settings.output.json:
        common.print_json(result.as_json())
    else:
        common.print_result(render_plan.plan(result))
    raise typer.Exit(common.exit_code(result.receipt, settings.run.max_rejects))
