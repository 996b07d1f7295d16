"""What stands at the ports 80 and 443 of a mediator and a relay: they themselves, HAProxy or nginx."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.lab.hosts import Host
from tests.lab.processes import Process
from tests.lab.topology import MEDIATOR_NAME, RELAY_NAME

__all__ = ["BEHIND", "FRONTS", "start_front"]

BEHIND = {MEDIATOR_NAME: 3355, RELAY_NAME: 3356}
"""Ports of the mediator's and the relay's HTTP behind a front."""

_HAPROXY = """
global
    maxconn 1000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 10m
frontend web
    bind :80
    bind :443 ssl crt {certificate} alpn http/1.1
    use_backend relay if {{ hdr_beg(host) -i {relay} }}
    default_backend mediator
backend relay
    server relay 127.0.0.1:{relay_port}
backend mediator
    server mediator 127.0.0.1:{mediator_port}
"""

_NGINX = """
daemon off;
master_process off;
user root;
pid {files}/nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log {files}/access.log;
    client_body_temp_path {files}/body;
    proxy_temp_path {files}/proxy;
    fastcgi_temp_path {files}/fastcgi;
    uwsgi_temp_path {files}/uwsgi;
    scgi_temp_path {files}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" close; }}
    ssl_certificate {certificate};
    ssl_certificate_key {certificate};
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;
    client_max_body_size 0;
    proxy_request_buffering off;
    proxy_buffering off;
    proxy_read_timeout 10m;
    proxy_send_timeout 10m;
    server {{
        listen 80;
        listen 443 ssl;
        server_name {mediator};
        location / {{ proxy_pass http://127.0.0.1:{mediator_port}; }}
    }}
    server {{
        listen 80;
        listen 443 ssl;
        server_name {relay};
        location / {{ proxy_pass http://127.0.0.1:{relay_port}; }}
    }}
}}
"""

FRONTS = ("", "haproxy", "nginx")
"""By name; "" is none."""


def start_front(name: str, host: Host, certificate: Path) -> Process:
    """Start one of :data:`FRONTS`, which ends TLS, and passes requests on by the host that they name.

    :param certificate: PEM, with its key, good for both names.
    """
    files = host.directory(name)
    settings = files / "settings"
    text = _HAPROXY if name == "haproxy" else _NGINX
    settings.write_text(
        text.format(
            files=files,
            certificate=certificate,
            mediator=MEDIATOR_NAME,
            relay=RELAY_NAME,
            mediator_port=BEHIND[MEDIATOR_NAME],
            relay_port=BEHIND[RELAY_NAME],
        )
    )
    command: Sequence[str] = (
        ["haproxy", "-db", "-f", str(settings)]
        if name == "haproxy"
        else ["nginx", "-e", "stderr", "-c", str(settings)]
    )
    process = host.start(command, name=name)
    process.wait_for_port(443)
    return process
