mock_provider "juju" {}

variables {
  model_uuid = "11111111-2222-3333-4444-555555555555"
}

run "with_neighbours" {
  command = plan

  assert {
    condition     = length(juju_integration.ingress) == 1 && length(juju_integration.certificates) == 1
    error_message = "Both neighbours are to be related."
  }
}

run "alone" {
  command = plan

  variables {
    certificates = false
    ingress      = false
  }

  assert {
    condition     = length(juju_application.traefik) == 0 && length(juju_integration.certificates) == 0
    error_message = "No neighbour was asked for."
  }
}
