"""A run of many requests, from its description to its exit status.

input -> refuse conflicts -> dry run
-> Batch lines only
-> live run: live_run.py
"""

from __future__ import annotations

from chatpipe.batch import dry_run, live_run, requests_only
from chatpipe.batch.conflicts import refuse_conflicts, refuse_engine_conflicts
from chatpipe.batch.input import RunInput, open_lines
from chatpipe.batch.progress import ProgressOptions
from chatpipe.batch.progress_options import progress_options
from chatpipe.batch.run_spec import RunSpec
from chatpipe.output.target import open_target
from chatpipe.wire.transports import check_transport


def run_batch(spec: RunSpec) -> int:
    """Run it, and return the status. Raises the ChatpipeError that the run ends in, and Interrupted."""
    sources = spec.draft.sources
    refuse_engine_conflicts(spec)
    with open_lines(spec.file, sources, spec.reader.form) as lines:
        run_input = RunInput(
            lines, spec.reader, spec.input, spec.console, own_ids_once=spec.resume.match == "id"
        )
        refuse_conflicts(spec)
        _check_transports(spec)
        display = _progress_options(spec)  # it looks at stdin, so it precedes read_head()
        run_input.read_head()
        if spec.report.dry_run:
            return dry_run.print_estimate(run_input.items(), spec)
        inputs, is_only_copy = [*sources.names, *spec.input_files], spec.journal_path is None
        with open_target(spec.output, inputs, escape=True, is_only_copy=is_only_copy) as out:
            if spec.only_requests:
                return requests_only.write_requests(run_input.items(), out, spec.console, spec.endpoint)
            return live_run.answer_items(spec, run_input, out, display)


def _progress_options(spec: RunSpec) -> ProgressOptions:
    return progress_options(
        spec.report,
        spec.console,
        spec.environ,
        file=spec.file,
        output=spec.output.path,
        limit=spec.input.limit,
    )


def _check_transports(spec: RunSpec) -> None:
    """Raise BadConfiguration for a server that cannot be reached with these options, before input is read."""
    if spec.only_requests or spec.report.dry_run or spec.options.recordings.is_offline:
        return
    for endpoint in spec.endpoints:
        check_transport(endpoint, spec.server_options, spec.environ)
