"""Hypothesis strategies for the records of the core: any value a field may hold, not only sensible ones."""

from hypothesis import strategies as st

from gflow.core.events import Event, EventKind
from gflow.core.model import (
    DependencyMode,
    EarlySignal,
    Failure,
    GpuUse,
    Group,
    Job,
    JobId,
    JobSpec,
    Reason,
    ReasonKind,
    State,
    Stop,
    StopCause,
    StopStep,
)

texts = st.text(st.characters(), max_size=20)
"""Any characters, lone surrogates included."""

ids = st.integers(1, 2**40).map(JobId)
counts = st.integers(0, 2**31)
moments = st.floats(0, 2**40, allow_nan=False)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)


def maybe(strategy: st.SearchStrategy) -> st.SearchStrategy:
    """Either None or a value."""
    return st.none() | strategy


def tuples_of(strategy: st.SearchStrategy) -> st.SearchStrategy:
    """Tuples of up to three values."""
    return st.lists(strategy, max_size=3).map(tuple)


reasons = st.builds(Reason, st.sampled_from(ReasonKind), maybe(ids), maybe(texts))
stops = st.builds(Stop, st.sampled_from(StopCause), st.sampled_from(StopStep), moments, maybe(texts), maybe(texts))
early_signals = st.builds(EarlySignal, st.integers(1, 64), moments)
gpu_uses = st.builds(GpuUse, samples=counts, mean_pct=maybe(moments), peak_pct=maybe(moments), peak_mb=maybe(counts))
failures = st.builds(Failure, ids, moments, moments)
groups = st.builds(Group, texts, maybe(counts), maybe(counts), tuples_of(failures), maybe(texts))

specs = st.builds(
    JobSpec,
    owner=texts,
    run_dir=texts,
    command=maybe(texts),
    argv=maybe(tuples_of(texts)),
    script=maybe(texts),
    script_digest=maybe(digests),
    script_args=tuples_of(texts),
    environment=maybe(digests),
    umask=maybe(st.integers(0, 0o777)),
    name=maybe(texts),
    project=maybe(texts),
    conda_env=maybe(texts),
    gpus=counts,
    gpu_indices=tuples_of(counts),
    shared=st.booleans(),
    gpu_memory_mb=maybe(counts),
    memory_mb=maybe(counts),
    cpus=maybe(counts),
    priority=st.integers(0, 255),
    depends_on=tuples_of(ids),
    dependency_mode=maybe(st.sampled_from(DependencyMode)),
    auto_cancel=st.booleans(),
    after_end=st.booleans(),
    task_id=maybe(counts),
    group_id=maybe(texts),
    group_name=maybe(texts),
    key=maybe(texts),
    parameters=st.dictionaries(texts, texts, max_size=3),
    time_limit_secs=maybe(moments | counts),
    early_signal=maybe(early_signals),
    max_retries=counts,
    restart_count=counts,
    retry_on_oom=st.booleans(),
    oom_restarts=counts,
    redone_from=maybe(ids),
    retried_from=maybe(ids),
    auto_close=st.booleans(),
    keep_session=st.booleans(),
    begin_at=maybe(moments),
    notify_emails=tuples_of(texts),
    notify_on=tuples_of(texts),
    submit_key=maybe(texts),
    uid=maybe(st.integers(0, 2**32 - 2)),
)


def _possible(job: Job) -> bool:
    return job.id not in job.spec.depends_on and (job.run_id is not None or job.state is not State.RUNNING)


jobs = st.builds(
    Job,
    id=ids,
    spec=specs,
    run_name=texts,
    state=st.sampled_from(State),
    submitted_at=moments,
    reason=maybe(reasons),
    gpu_ids=maybe(tuples_of(counts)),
    run_id=maybe(texts),
    started_at=maybe(moments),
    started_boot=maybe(moments),
    finished_at=maybe(moments),
    exit_code=maybe(st.integers(0, 255)),
    detail=maybe(texts),
    stop=maybe(stops),
    signalled=st.booleans(),
    retried_as=maybe(ids),
    redone_as=maybe(ids),
    gpu_use=maybe(gpu_uses),
    gpu_share_mb=maybe(counts),
    planned_for=maybe(moments),
    bypassed_at=maybe(moments),
).filter(_possible)

about = st.dictionaries(texts, maybe(counts | texts), max_size=3)
events = st.builds(Event, st.sampled_from(EventKind), moments, maybe(jobs), about)
