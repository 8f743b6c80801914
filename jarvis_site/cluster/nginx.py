"""The nginx of a cluster: a site of its own, and the very lines that a deployment uses (`setup/nginx/`)."""

from collections.abc import Sequence
from pathlib import Path

SETUP_DIR = Path(__file__).resolve().parent.parent.parent / "setup" / "nginx"
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def nginx_command(nginx: str, folder: Path) -> list[str]:
    return [nginx, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


def write_config(folder: Path, port: int, web_ports: Sequence[int]) -> None:
    """`nginx.conf`: http on 127.0.0.1, everything nginx writes in `folder`."""
    paths = "\n".join(f"  {name}_temp_path {folder}/{name};" for name in _TEMPORARY)
    processes = "\n".join(f"    server 127.0.0.1:{each} max_fails=1 fail_timeout=2s;" for each in web_ports)
    (folder / "nginx.conf").write_text(
        f"""\
daemon off;
worker_processes 2;
worker_rlimit_nofile 8192;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
  access_log off;
{paths}
  upstream jarvis {{
    zone jarvis 64k;
    least_conn;
{processes}
    keepalive 64;
    keepalive_timeout 30s;
  }}
  server {{
    listen 127.0.0.1:{port};
    include {SETUP_DIR}/jarvis-proxy.conf;
  }}
}}
"""
    )
