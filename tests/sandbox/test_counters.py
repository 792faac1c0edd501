"""What Pebble's own log tells of requests and starts."""

from sandbox.pods import Counters

_REQUEST = "2026-01-01T00:00:00.000Z [pebble] {} 1.2ms 200 (http+unix)"


def test_given_pebble_s_log_when_it_is_read_then_requests_are_counted_without_ids() -> None:
    counters = Counters()

    for request in ("GET /v1/files?path=%2Fa", "GET /v1/files?path=%2Fb", "GET /v1/tasks/7"):
        counters.read(_REQUEST.format(request))

    assert counters.requests == {"GET /v1/files": 2, "GET /v1/tasks/N": 1}


def test_given_our_own_question_when_it_is_in_the_log_then_it_does_not_count() -> None:
    counters = Counters()

    counters.read(_REQUEST.format("GET /v1/notices?timeout=20s&sandbox=1"))

    assert counters.requests == {}


def test_given_a_service_s_start_when_it_is_in_the_log_then_it_counts() -> None:
    counters = Counters()

    counters.read('2026-01-01T00:00:00.000Z [pebble] Service "wazuh" starting: /opt/supervisor')
    counters.read('2026-01-01T00:00:00.000Z [wazuh] Service "wazuh" starting: not Pebble')

    assert counters.starts == {"wazuh": 1}
