locals {
  # The module comes with the whole repository, and so with what the charm declares.
  declared = yamldecode(file("${path.module}/../../charmcraft.yaml"))
}

resource "juju_application" "wazuh_server" {
  name       = var.app_name
  model_uuid = var.model_uuid

  charm {
    name     = "wazuh-server"
    base     = var.base
    channel  = var.channel
    revision = var.revision
  }

  config             = var.config
  constraints        = var.constraints
  resources          = var.resources
  storage_directives = var.storage
  trust              = var.trust
  units              = var.units
}
