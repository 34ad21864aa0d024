"""The study's database, shared by workers that may die, freeze or lose it at any moment.

Optuna's ``RDBStorage`` and its table of heartbeats, with four operations of our own, each one transaction:

* a trial is stored whole, with who trains it (``add``);
* a waiting one is taken by exactly one worker (``claim``);
* what a worker says of a trial, its end included, counts only while the trial is its own (``settle``);
* a running one whose worker is gone waits again under its number, so that its seed and its checkpoints stay (``settle``).

Optuna's own retry would close such a trial as failed and queue a copy of another number, and its heartbeat ends with the
first lost connection.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.orm import Session

from asc_search.study.outage import bridging

WORKER = "worker"  # user attribute of a trial: Owner.text of who trains it
NO_SYNC = {"synchronize_session": False}
Attrs = Mapping[str, Any]


class SharedStorage(RDBStorage):
    """See the module."""

    def add(self, study_id: int, trial: FrozenTrial) -> tuple[int, int]:
        """Store ``trial`` with all that is known of it; its id and number."""
        with _create_scoped_session(self.scoped_session) as session:
            # numbers are counted, so one at a time
            models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
            row = models.TrialModel(study_id=study_id, number=None, state=trial.state)
            row.datetime_start, row.datetime_complete = trial.datetime_start, trial.datetime_complete
            session.add(row)
            session.flush()
            row.number = row.count_past_trials(session)
            _insert_params(session, row.trial_id, trial)
            _insert_values(session, row.trial_id, trial.values or ())
            _insert(session, models.TrialUserAttributeModel, row.trial_id, trial.user_attrs)
            _insert(session, models.TrialSystemAttributeModel, row.trial_id, trial.system_attrs)
            if trial.state is TrialState.RUNNING:
                _beat_first(session, row.trial_id)
            return row.trial_id, row.number

    def claim(self, trial_id: int, worker: str, drawn: FrozenTrial | None = None) -> bool:
        """Take a waiting trial for ``worker``, with what was ``drawn`` for it; False: another one has it."""
        with _create_scoped_session(self.scoped_session) as session:
            # The first statement locks the row on every kind of database, so all that follows is one step.
            claimed = sa.update(models.TrialModel).where(
                models.TrialModel.trial_id == trial_id, models.TrialModel.state == TrialState.WAITING
            )
            now_ours = claimed.values(state=TrialState.RUNNING, datetime_start=datetime.now())
            if not session.execute(now_ours, execution_options=NO_SYNC).rowcount:
                return self._has(session, trial_id, TrialState.RUNNING, worker)
            attrs: Attrs = {WORKER: worker}
            if drawn is not None:
                _delete(session, models.TrialParamModel, trial_id)
                _insert_params(session, trial_id, drawn)
                _set(session, models.TrialSystemAttributeModel, trial_id, drawn.system_attrs)
                attrs = {**drawn.user_attrs, **attrs}
            _set(session, models.TrialUserAttributeModel, trial_id, attrs)
            _delete(session, models.TrialHeartbeatModel, trial_id)
            _beat_first(session, trial_id)
            return True

    def settle(
        self,
        trial_id: int,
        worker: str | None,
        attrs: Attrs,
        state: TrialState | None = None,
        values: Sequence[float] | None = None,
    ) -> bool:
        """Write ``attrs`` of a running trial of ``worker``'s and put it into ``state`` (None: it goes on, a sign of life).

        WAITING gives it back, for anyone to claim. False, and nothing is written: it is no longer ``worker``'s.
        """
        with _create_scoped_session(self.scoped_session) as session:
            running = sa.update(models.TrialModel).where(
                models.TrialModel.trial_id == trial_id, models.TrialModel.state == TrialState.RUNNING
            )
            if not session.execute(running.values(state=TrialState.RUNNING), execution_options=NO_SYNC).rowcount:
                # done by us already, where the connection was lost before we heard of it?
                return state is not None and self._has(session, trial_id, state, worker)
            if _worker(session, trial_id) != worker:
                return False
            if state is TrialState.WAITING:
                attrs = {**attrs, WORKER: None}
                _delete(session, models.TrialHeartbeatModel, trial_id)
            _set(session, models.TrialUserAttributeModel, trial_id, attrs)
            if state is None:
                _beat_anew(session, trial_id)
            else:
                _insert_values(session, trial_id, values or ())
                ended = {"datetime_complete": datetime.now()} if state.is_finished() else {}
                session.execute(running.values(state=state, **ended), execution_options=NO_SYNC)
            return True

    def beat(self, trial_id: int, worker: str) -> bool:
        """A sign of life of the trial's worker; False: the trial is not (or no longer) its own."""
        with _create_scoped_session(self.scoped_session) as session:
            if not self._has(session, trial_id, TrialState.RUNNING, worker):
                return False
            _beat_anew(session, trial_id)
            return True

    def silence(self, study_id: int) -> dict[int, float]:
        """Seconds since the last sign of life of every running trial (by id) that ever gave one, by the database's clock."""
        with _create_scoped_session(self.scoped_session) as session:
            now = _naive(session.execute(sa.select(sa.func.current_timestamp())).scalar())
            rows = session.execute(
                sa.select(models.TrialHeartbeatModel.trial_id, models.TrialHeartbeatModel.heartbeat)
                .join(models.TrialModel)
                .where(models.TrialModel.study_id == study_id, models.TrialModel.state == TrialState.RUNNING)
            )
            return {trial_id: (now - _naive(heard)).total_seconds() for trial_id, heard in rows}

    def clock(self) -> datetime:
        """The database's time, UTC."""
        with _create_scoped_session(self.scoped_session) as session:
            moment = session.execute(sa.select(sa.func.current_timestamp())).scalar()
            aware = isinstance(moment, datetime) and moment.tzinfo is not None
            return _naive(moment.astimezone(UTC) if aware else moment)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As ever; of a trial that is being drawn (id -1) there is nothing to share before it is stored whole."""
        if trial_id >= 0:
            super().set_trial_system_attr(trial_id, key, value)

    def _has(self, session: Session, trial_id: int, state: TrialState, worker: str | None) -> bool:
        """Whether a trial is in ``state`` by ``worker``."""
        found = session.execute(
            sa.select(models.TrialModel.state).where(models.TrialModel.trial_id == trial_id)
        ).scalar()
        return found is state and _worker(session, trial_id) == worker


def _worker(session: Session, trial_id: int) -> str | None:
    attribute = models.TrialUserAttributeModel
    found = session.execute(
        sa.select(attribute.value_json).where(attribute.trial_id == trial_id, attribute.key == WORKER)
    ).scalar()
    return None if found is None else json.loads(found)


def _set(session: Session, table: Any, trial_id: int, attrs: Attrs) -> None:
    """Set attributes, two statements for all of them."""
    if attrs:
        _delete(session, table, trial_id, table.key.in_(list(attrs)))
        _insert(session, table, trial_id, attrs)


def _insert(session: Session, table: Any, trial_id: int, attrs: Attrs) -> None:
    """Attributes of a trial that has none of them."""
    _insert_rows(session, table, trial_id, [{"key": key, "value_json": json.dumps(attrs[key])} for key in attrs])


def _insert_params(session: Session, trial_id: int, trial: FrozenTrial) -> None:
    """The parameters of ``trial``, into one that has none."""
    rows = [
        {
            "param_name": name,
            "param_value": trial.distributions[name].to_internal_repr(value),
            "distribution_json": distribution_to_json(trial.distributions[name]),
        }
        for name, value in trial.params.items()
    ]
    _insert_rows(session, models.TrialParamModel, trial_id, rows)


def _insert_values(session: Session, trial_id: int, values: Sequence[float]) -> None:
    """The objective values of a trial that has none."""
    stored = map(models.TrialValueModel.value_to_stored_repr, values)
    rows = [{"objective": at, "value": value, "value_type": kind} for at, (value, kind) in enumerate(stored)]
    _insert_rows(session, models.TrialValueModel, trial_id, rows)


def _beat_first(session: Session, trial_id: int) -> None:
    """The first sign of life, in the transaction that makes the trial a worker's own."""
    _insert_rows(session, models.TrialHeartbeatModel, trial_id, [{}])


def _beat_anew(session: Session, trial_id: int) -> None:
    """A sign of life of a trial that gave one before."""
    beats = models.TrialHeartbeatModel
    now = sa.update(beats).where(beats.trial_id == trial_id).values(heartbeat=sa.func.current_timestamp())
    session.execute(now, execution_options=NO_SYNC)


def _insert_rows(session: Session, table: Any, trial_id: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """All ``rows`` of a trial in one statement."""
    if rows:
        session.execute(sa.insert(table), [{"trial_id": trial_id, **row} for row in rows])


def _delete(session: Session, table: Any, trial_id: int, *which: Any) -> None:
    session.execute(sa.delete(table).where(table.trial_id == trial_id, *which), execution_options=NO_SYNC)


def _naive(moment: Any) -> datetime:
    """A moment as the kinds of database give it, as naive UTC."""
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return moment.replace(tzinfo=None)


_BRIDGED = (
    "add", "claim", "settle", "beat", "silence", "clock", "create_new_study", "create_new_trial", "_create_new_trial",
    "get_all_studies", "get_study_directions", "get_study_id_from_name", "get_study_name_from_id",
    "get_study_system_attrs", "get_study_user_attrs", "get_trial", "_get_trials", "set_study_system_attr",
    "set_study_user_attr", "set_trial_system_attr", "set_trial_user_attr", "set_trial_state_values",
)  # fmt: skip
for _name in _BRIDGED:
    setattr(SharedStorage, _name, bridging(getattr(SharedStorage, _name)))
