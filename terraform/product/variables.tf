variable "certificates" {
  description = "Whether an authority of the model's own signs the certificate of the clients' ports."
  type        = bool
  default     = true
}

variable "ingress" {
  description = "Whether Traefik opens the clients' ports on an address of its own."
  type        = bool
  default     = true
}

variable "model_uuid" {
  description = "The id of the model that all is deployed to."
  type        = string
}

variable "self_signed_certificates" {
  description = "The charm self-signed-certificates: where it is taken from."
  type = object({
    app_name = optional(string, "self-signed-certificates")
    channel  = optional(string, "1/stable")
    revision = optional(number)
    config   = optional(map(string), {})
  })
  default = {}
}

variable "traefik" {
  description = "The charm traefik-k8s: where it is taken from."
  type = object({
    app_name = optional(string, "traefik-k8s")
    channel  = optional(string, "latest/stable")
    revision = optional(number)
    config   = optional(map(string), {})
  })
  default = {}
}

variable "wazuh_server" {
  description = "The charm wazuh-server: as the variables of terraform/charm."
  type = object({
    app_name  = optional(string, "wazuh-server")
    channel   = optional(string, "latest/edge")
    revision  = optional(number)
    config    = optional(map(string), {})
    resources = optional(map(string), {})
    storage   = optional(map(string), {})
    trust     = optional(bool, false)
    units     = optional(number, 3)
  })
  default = {}
}
