output "app_name" {
  description = "What the application is called in the model."
  value       = module.wazuh_server.app_name
}

output "requires" {
  description = "The endpoints that are left to relate: those at which the charm uses others."
  value       = module.wazuh_server.requires
}

output "provides" {
  description = "The endpoints at which others use the charm."
  value       = module.wazuh_server.provides
}
