"""Users and arguments: where all users are one, and what programs were called with."""

from sandbox.driver import APPLICATION, Driver

UNIT = f"{APPLICATION}/0"


def test_given_no_sub_ids_when_deployed_then_it_serves_and_all_users_are_one(
    other: Driver,
) -> None:
    other.deploy(1, "--one-uid")

    other.wait_active(1)

    owners = other.exec(UNIT, ["stat", "-c", "%u", "/var/ossec/etc", "/var/ossec/etc/ossec.conf"])
    assert set(owners.split()) == {"0"}
    assert other.status()["sandbox"]["one-uid"]


def test_given_watched_arguments_when_a_secret_is_planted_then_the_record_shows_it(
    other: Driver,
) -> None:
    other.deploy(1, "--watch-arguments")
    other.wait_active(1)
    password = other.secret("enrolment-password")["password"]
    record = other.home / "arguments"
    assert password not in record.read_text(errors="replace")

    other.exec(UNIT, ["true", password])

    other.wait("the record", lambda: password in record.read_text(errors="replace"), 30)


def test_given_a_container_when_anybody_shares_memory_then_he_may(cluster: Driver) -> None:
    mode = cluster.exec(UNIT, ["stat", "-c", "%a", "/dev/shm"])

    assert mode.strip() == "1777"
