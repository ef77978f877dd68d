"""What differs between two configurations, and what of it a daemon that runs can go by."""

from gflow.config import Config, Daemon, Notifications, Quota, QuotaLimits, Webhook
from gflow.daemon.reloading import Differences, differences, in_force


def test_nothing_differs():
    assert differences(Config(), Config()) == Differences([], [])


def test_settings_are_named_with_what_they_were_and_are():
    before = Config(daemon=Daemon(max_bypass_secs=60), timezone="UTC")
    after = Config(daemon=Daemon(idle_gpu_warn_mins=5), quota=Quota(users={"ada": QuotaLimits(max_running_jobs=2)}))
    assert differences(before, after).applied == [
        "daemon.idle_gpu_warn_mins: not set -> 5",
        "daemon.max_bypass_secs: 60 -> 3600",
        "quota.users.ada.max_running_jobs: not set -> 2",
        "timezone: UTC -> not set",
    ]


def test_secrets_are_not_said():
    hooks = Notifications(enabled=True, webhooks=[Webhook(url="https://host/SECRET", secret="SECRET")])
    found = differences(Config(), Config(notifications=hooks))
    assert found == Differences(["notifications.enabled", "notifications.webhooks"], [])


def test_what_needs_a_restart_stays_as_it_is():
    before = Config(daemon=Daemon(gpus=[0], kill_grace_secs=1))
    after = Config(daemon=Daemon(gpus=[0, 1], port=5000, kill_grace_secs=2))
    assert differences(before, after) == Differences(
        ["daemon.kill_grace_secs: 1 -> 2"], ["daemon.gpus: [0] -> [0, 1]", "daemon.port: not set -> 5000"]
    )
    kept = in_force(before, after)
    assert (kept.daemon.gpus, kept.daemon.port, kept.daemon.kill_grace_secs) == ([0], None, 2)
    assert differences(kept, after).applied == []
