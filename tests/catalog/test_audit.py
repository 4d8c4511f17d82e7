"""Lines of who did what, which even the database does not let anybody change."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from catalog import audit
from catalog.audit_models import AuditLine
from catalog.engine import reading, writing


def line(**changes):
    known = {
        "user": "ana",
        "kind": "token",
        "address": "10.0.0.1",
        "action": "create_build",
        "target": "/v1/builds",
        "subject": "hep/gan",
        "status": 202,
        "made": "/v1/builds/1",
        "request_id": "r1",
    }
    return AuditLine(**known | changes)


def test_lines_are_read_newest_first_and_by_what_they_tell(engine):
    with writing(engine) as session:
        audit.add(session, [line(), line(user="ben"), line(subject="a/b", action="rollback")])
    with reading(engine) as session:
        newest = audit.listing(session)
        assert [row.action for row in newest] == ["rollback", "create_build", "create_build"]
        assert [row.user for row in audit.listing(session, user="ben")] == ["ben"]
        assert len(audit.listing(session, subject="hep/gan")) == 2
        assert len(audit.listing(session, action="rollback", user="ana")) == 1
        assert [row.id for row in audit.listing(session, before=newest[0].id, limit=1)] == [
            newest[1].id
        ]


@pytest.mark.parametrize("statement", ["UPDATE audit SET status = 200", "DELETE FROM audit"])
def test_a_line_can_neither_be_changed_nor_deleted(engine, statement):
    with writing(engine) as session:
        audit.add(session, [line(status=403)])
    with pytest.raises(DBAPIError, match="the audit log only grows"), writing(engine) as session:
        session.execute(text(statement))
    with reading(engine) as session:
        assert [row.status for row in audit.listing(session)] == [403]


def test_what_no_database_can_hold_is_kept_as_well_as_it_can(engine):
    with writing(engine) as session:
        audit.add(session, [line(target="/v1/a\0b", user="\ud800")])
    with reading(engine) as session:
        (row,) = audit.listing(session)
        assert row.target.startswith("/v1/a")
