"""What Prometheus and Grafana need to watch an installation: scrape configuration, rules, alerts, dashboards.

The files in `prometheus/` and `grafana/` are rendered from the modules here (`python -m deploy.observe`).
"""
