# SPDX-License-Identifier: MIT
"""
The disk is full: under the access log, the error log, the state file, the settings and the audit log. Traffic goes on, losses are counted and told once, nothing
is left half written, and all works again when there is room. RLIMIT_FSIZE of the running process stands for a full disk: it fails each write to a file beyond a
size, needs no mount and can be lifted again; /dev/full stands for one that stays full.
"""
import json
import resource
import stat
import threading

from support import actions
from support.rules import ADMIN, Rules
from support.waiting import wait_until

LIFTED = resource.RLIM_INFINITY


def file_limit(gw, size):
    hard = resource.prlimit(gw.process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(gw.process.pid, resource.RLIMIT_FSIZE, (size, hard))


def lines(gw, name):
    """All lines of a JSON log; each has to be whole."""
    return [json.loads(line) for line in (gw.folder / name).read_text().splitlines()]


def test_access_log_on_a_full_disk(lab):
    """Goal: requests are served though no line of the access log can be written; each loss is counted, and the error log tells it once."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"log": {"access": "/dev/full"}})
    for n in range(50):
        assert gw.chat().status == 200
        wait_until(lambda: gw.metric("moongate_log_dropped_total") == n + 1, "the loss to be counted")
    told = [line for line in gw.stderr.splitlines() if "access log" in line]
    assert len(told) == 1 and "No space left on device" in told[0], told


def test_logs_when_the_disk_fills_up_and_has_room_again(lab):
    """Goal: each line is in the access log whole or counted as lost, also where the disk ended within a line; when there is room again all is as before."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"log": {"access": "access.log"}})
    log = gw.folder / "access.log"
    ids = [gw.chat().header("x-moongate-request-id")]
    wait_until(lambda: log.exists() and log.read_text().endswith("\n"), "the first line")
    file_limit(gw, log.stat().st_size + 100)                    # the next line ends in its middle
    for n in range(20):
        answer = gw.chat()
        assert answer.status == 200
        ids.append(answer.header("x-moongate-request-id"))
    wait_until(lambda: gw.metric("moongate_log_dropped_total") >= 20, "the losses to be counted")
    file_limit(gw, LIFTED)
    for n in range(5):
        ids.append(gw.chat().header("x-moongate-request-id"))
    wait_until(lambda: ids[-1] in log.read_text() and log.read_text().endswith("\n"), "the last line")
    lost = gw.metric("moongate_log_dropped_total")
    text = log.read_text().splitlines()
    whole = [line for line in text if line.endswith("}")]
    assert len(text) == len(whole) + 1, "one line was cut in two, and the next began on its own"
    assert [json.loads(line)["id"] for line in whole] == [ids[0], *ids[-5:]]
    wait_until(lambda: "written again" in gw.stderr, "the losses to be told")
    assert lost >= 20 and gw.stderr.count("the access log is written again") == 1
    assert gw.stderr.count("the access log cannot be written") <= 1     # the error log may have been full, too


def test_error_log_on_a_full_disk(lab):
    """Goal: a gateway whose error log cannot take a line serves, counts them, and tells how many were lost when it can again."""
    up = lab.upstream(actions.fail(500))
    gw = lab.policy({"p": up}, """
    moongate.log("error", "a line of the policy's")
    return req:respond({ status = 200, body = "x" })""", config={"log": {"error": "stderr", "access": "/dev/null"}})
    file_limit(gw, 1)
    for _ in range(30):
        assert gw.chat().status == 200
    wait_until(lambda: gw.metric("moongate_log_dropped_total") >= 30, "the losses to be counted")
    file_limit(gw, LIFTED)
    assert gw.chat().status == 200
    line = gw.wait_log("the error log is written again")
    assert int(line.split("; ")[1].split()[0]) >= 30


def test_state_file_on_a_full_disk(lab):
    """Goal: the suspensions' file keeps its last whole version while the disk is full, the failures are counted, and the newest are saved when there is room."""
    p, spare = lab.upstream(actions.fail(500)), lab.upstream(actions.ok())
    gw = lab.failover({"p": p, "spare": spare}, {"suspend": 600, "targets": ["p/a", "spare/m"]}, config={"admin": ADMIN, "state_dir": "state"})
    file = gw.folder / "state/suspensions.json"
    assert gw.chat().status == 200
    wait_until(lambda: file.exists() and "p/a" in file.read_text(), "the first suspension on the disk")
    kept = file.read_text()
    file_limit(gw, 1)
    assert gw.api("POST", "/admin/targets/spare%2Fm/suspend", {"seconds": 700}).status in (200, 503)
    wait_until(lambda: gw.metric("moongate_file_failures_total", file="suspensions.json") >= 2, "two tries to fail")
    assert gw.suspended("spare/m") and file.read_text() == kept and json.loads(kept)
    assert [f.name for f in file.parent.iterdir() if f.name.startswith("suspensions")] == [file.name], "no half file is left"
    file_limit(gw, LIFTED)
    wait_until(lambda: "spare/m" in file.read_text(), "the newest suspension on the disk")
    gw.wait_log("suspensions are saved again")
    gw.kill()
    gw.start()
    assert gw.suspended("p/a") and gw.suspended("spare/m")


def test_state_file_that_fails_is_told_once(lab):
    """Goal: a state file that cannot be written for seconds is one line of the error log, not one a second."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"admin": ADMIN, "state_dir": "state"})
    (gw.folder / "state").mkdir(exist_ok=True)
    (gw.folder / "state/suspensions.json.tmp").mkdir()         # in its way, also for root
    gw.api("POST", "/admin/targets/p%2Fp-model/suspend", {"seconds": 600})
    wait_until(lambda: gw.metric("moongate_file_failures_total", file="suspensions.json") >= 3, "three tries to fail")
    assert gw.stderr.count("suspensions cannot be saved") == 1
    assert gw.chat().status == 503                             # suspended all the same
    (gw.folder / "state/suspensions.json.tmp").rmdir()
    gw.wait_log("suspensions are saved again")


def test_settings_on_a_full_disk(lab):
    """Goal: a change of settings that cannot be kept is refused and changes nothing, its audit line goes to the error log or is counted; afterwards it works."""
    up = lab.upstream(actions.ok())
    gw = lab.failover({"p": up}, config={"admin": ADMIN, "state_dir": "state"})
    rules = Rules(gw)
    rules.set({"suspend": 7})
    file = gw.folder / "state/settings.json"
    audit = gw.folder / "state/audit.log"
    kept, audited = file.read_text(), audit.read_text()
    file_limit(gw, 1)
    answers = [rules.put({"suspend": n}) for n in range(8, 13)]
    for answer in answers:
        assert answer.status == 500 and answer.json()["error"]["code"] == "not_saved", answer.body
    assert rules.settings()["overlay"] == {"suspend": 7} and file.read_text() == kept
    assert gw.chat().status == 200
    assert gw.metric("moongate_file_failures_total", file="settings.json") == 5
    assert gw.metric("moongate_file_failures_total", file="audit.log") >= 5
    file_limit(gw, LIFTED)
    assert rules.set({"suspend": 20})
    assert rules.settings()["overlay"] == {"suspend": 20} and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert audit.read_text().startswith(audited), "what was in the audit log is untouched"
    assert [json.loads(line) for line in audit.read_text().splitlines()][-1]["result"] == "applied"
    assert gw.stderr.count("entries go here") <= 1


def test_audit_log_cut_by_a_full_disk(lab):
    """Goal: a disk that ends within an audit line leaves no half line behind, and the line goes to the error log instead."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, config={"admin": ADMIN, "state_dir": "state"})
    rules = Rules(gw)
    rules.set({"suspend": 7})
    audit = gw.folder / "state/audit.log"
    filler = audit.stat().st_size + 20000                       # larger than all other files, the error log too
    with open(audit, "a") as out:
        out.write(json.dumps({"filler": "x" * 20000, "action": "start"}) + "\n")
    file_limit(gw, audit.stat().st_size + 50)
    rules.set({"suspend": 8})
    gw.wait_log("entries go here")
    assert audit.stat().st_size > filler and lines(gw, "state/audit.log")[-1]["action"] == "start"
    assert gw.metric("moongate_file_failures_total", file="audit.log") == 1
    assert "audit: {" in gw.stderr
    file_limit(gw, LIFTED)
    rules.set({"suspend": 9})
    assert lines(gw, "state/audit.log")[-1]["after"] == {"suspend": 9}


def test_everything_at_once(lab):
    """Goal: with no room for any file, twenty clients are served as ever."""
    gw = lab.failover({"p": lab.upstream(actions.ok())}, {"suspend": 5}, config={"admin": ADMIN, "state_dir": "state", "log": {"access": "access.log"}})
    assert gw.chat().status == 200
    file_limit(gw, 0)
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.extend(gw.chat(stream=n % 2 == 0).status for n in range(10))) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert statuses == [200] * 200
    file_limit(gw, LIFTED)
    assert gw.chat().status == 200
