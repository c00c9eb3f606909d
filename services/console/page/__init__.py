"""The console's page: files that `deploy.console_page` builds of services/console/web, and how browsers get them."""
