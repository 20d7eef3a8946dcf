"""The origin behind every proxy: nginx, answering from memory."""

from __future__ import annotations

from pathlib import Path

from benchmarks import servers
from benchmarks.nginx import MODULES, PREAMBLE, affinity
from benchmarks.workloads import KIB, SMALL

CONFIG = """{modules}{preamble}
worker_processes {workers};
worker_cpu_affinity {affinity};
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    client_body_temp_path {folder}/body;
    client_max_body_size 0;
    client_body_buffer_size 512k;
    sendfile on;
    tcp_nopush on;
    server {{
        listen 127.0.0.1:{port} backlog=4096 reuseport;
        default_type text/plain;
        location / {{ return 200 "{small}"; }}
        location = /team0/service-0/subject {{ return 200 $http_x_subject; }}
        location /changing {{
            add_header X-Request-Id $request_id;
            return 200 "{small}";
        }}
        location /headers {{
            add_header Cache-Control "private, max-age=60";
            add_header ETag '"5f2b-18c7d1a2"';
            add_header Vary Accept-Encoding;
            add_header X-Content-Type-Options nosniff;
            add_header Set-Cookie "last=42; Path=/; HttpOnly; SameSite=Lax";
            return 200 "{page}";
        }}
        location /big {{ root {folder}/files; }}
        location /stamp {{ return 200 $http_x_stamp; }}
        location /upload {{ content_by_lua_block {{ ngx.req.read_body() ngx.header.content_length = 2 ngx.print("ok") }} }}
    }}
}}
"""


def start(cpus: set[int], folder: Path) -> servers.Server:
    """One worker per core of `cpus`."""
    home = folder / f"origin-{len(cpus)}-{min(cpus)}"
    (home / "files").mkdir(parents=True, exist_ok=True)
    (home / "files" / "big").write_bytes(b"b" * (KIB * KIB))
    port = servers.free_port()
    text = CONFIG.format(
        modules=MODULES, preamble=PREAMBLE.format(folder=home), workers=len(cpus), affinity=affinity(cpus), folder=home, port=port, small="s" * SMALL, page="p" * (2 * KIB)
    )
    path = home / "nginx.conf"
    path.write_text(text)
    return servers.start(home.name, ["nginx", "-p", str(home), "-e", "stderr", "-c", str(path)], cpus, port, folder)
