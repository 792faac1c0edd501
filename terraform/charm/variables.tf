variable "app_name" {
  description = "What the application is called in the model."
  type        = string
  default     = "wazuh-server"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]*[a-z][a-z0-9]*)*$", var.app_name))
    error_message = "An application's name is lower case, with dashes, and its last part is no number."
  }
}

variable "base" {
  description = "The base the charm runs on."
  type        = string
  default     = "ubuntu@24.04"
}

variable "channel" {
  description = "The channel the charm is taken from."
  type        = string
  default     = "latest/edge"
}

variable "config" {
  description = "The application's options, by name; see the charm's reference."
  type        = map(string)
  default     = {}
}

variable "constraints" {
  description = "The application's constraints, for instance \"mem=4G\", or tags that keep units on nodes of their own."
  type        = string
  default     = null
}

variable "model_uuid" {
  description = "The id of the model that the application is deployed to."
  type        = string
}

variable "resources" {
  description = "Images in place of the channel's own, by the resource's name."
  type        = map(string)
  default     = {}
}

variable "revision" {
  description = "The charm's revision; without it the newest of the channel."
  type        = number
  default     = null
}

variable "storage" {
  description = "The storage by name, for instance { data = \"50G\" }; the charm asks for 10G at least."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.storage) : name == "data"])
    error_message = "The charm has one storage, called data."
  }
}

variable "trust" {
  description = "Whether the charm may make objects of Kubernetes' own."
  type        = bool
  default     = false
}

variable "units" {
  description = "How many units; with three the cluster outlives any one of them."
  type        = number
  default     = 3

  validation {
    condition     = var.units >= 1 && floor(var.units) == var.units
    error_message = "At least one unit, and a whole number of them."
  }
}
