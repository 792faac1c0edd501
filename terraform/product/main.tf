module "wazuh_server" {
  source = "../charm"

  app_name   = var.wazuh_server.app_name
  channel    = var.wazuh_server.channel
  config     = var.wazuh_server.config
  model_uuid = var.model_uuid
  resources  = var.wazuh_server.resources
  revision   = var.wazuh_server.revision
  storage    = var.wazuh_server.storage
  trust      = var.wazuh_server.trust
  units      = var.wazuh_server.units
}

resource "juju_application" "self_signed_certificates" {
  count      = var.certificates ? 1 : 0
  name       = var.self_signed_certificates.app_name
  model_uuid = var.model_uuid

  charm {
    name     = "self-signed-certificates"
    channel  = var.self_signed_certificates.channel
    revision = var.self_signed_certificates.revision
  }

  config = var.self_signed_certificates.config
}

resource "juju_application" "traefik" {
  count      = var.ingress ? 1 : 0
  name       = var.traefik.app_name
  model_uuid = var.model_uuid
  trust      = true

  charm {
    name     = "traefik-k8s"
    channel  = var.traefik.channel
    revision = var.traefik.revision
  }

  config = var.traefik.config
}

resource "juju_integration" "certificates" {
  count      = var.certificates ? 1 : 0
  model_uuid = var.model_uuid

  application {
    name     = module.wazuh_server.app_name
    endpoint = module.wazuh_server.requires.certificates
  }

  application {
    name     = juju_application.self_signed_certificates[0].name
    endpoint = "certificates"
  }
}

resource "juju_integration" "ingress" {
  count      = var.ingress ? 1 : 0
  model_uuid = var.model_uuid

  application {
    name     = module.wazuh_server.app_name
    endpoint = module.wazuh_server.requires.ingress
  }

  application {
    name     = juju_application.traefik[0].name
    endpoint = "traefik-route"
  }
}
