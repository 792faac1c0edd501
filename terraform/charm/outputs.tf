output "app_name" {
  description = "What the application is called in the model."
  value       = juju_application.wazuh_server.name
}

output "requires" {
  description = "The endpoints at which the charm uses others, by name."
  value       = { for name in keys(try(local.declared.requires, {})) : name => name }
}

output "provides" {
  description = "The endpoints at which others use the charm, by name."
  value       = { for name in keys(try(local.declared.provides, {})) : name => name }
}
