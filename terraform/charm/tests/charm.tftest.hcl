# Without a controller: the provider is a mock, and what would be asked of it is looked at.
mock_provider "juju" {}

variables {
  model_uuid = "11111111-2222-3333-4444-555555555555"
}

run "defaults" {
  command = plan

  assert {
    condition     = juju_application.wazuh_server.units == 3
    error_message = "Three units are the default."
  }
  assert {
    condition     = juju_application.wazuh_server.charm[0].name == "wazuh-server"
    error_message = "It is another charm."
  }
  assert {
    condition     = juju_application.wazuh_server.trust == false
    error_message = "Trust is to be asked for."
  }
}

run "no_unit" {
  command = plan

  variables {
    units = 0
  }

  expect_failures = [var.units]
}

run "unknown_storage" {
  command = plan

  variables {
    storage = { other = "1G" }
  }

  expect_failures = [var.storage]
}
