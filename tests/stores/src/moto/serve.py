"""moto's server, and boto3 as its operator: a line of JSON in, a line of JSON out."""

import base64
import json
import logging
import ssl
import sys
import threading

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.secretsmanager.models import SecretsManagerBackend
from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.ERROR)

# AWS moves what a read without a label gets, and what the next write makes AWSPREVIOUS, together with AWSCURRENT. moto
# leaves both where they were.
unmended = SecretsManagerBackend.update_secret_version_stage


def mended(self, secret_id, version_stage, remove_from_version_id, move_to_version_id):
    answer = unmended(self, secret_id, version_stage, remove_from_version_id, move_to_version_id)
    if version_stage == "AWSCURRENT" and move_to_version_id:
        self.secrets[secret_id].set_default_version_id(move_to_version_id)
    return answer


SecretsManagerBackend.update_secret_version_stage = mended

tls = None
if len(sys.argv) > 2:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[1], sys.argv[2])
app = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", 0, app, True, request_handler=MotoRequestHandler, ssl_context=tls)
threading.Thread(target=server.serve_forever, daemon=True).start()
scheme = "https" if tls else "http"
base = f"{scheme}://127.0.0.1:{server.server_port}"
print(json.dumps({"port": server.server_port}), flush=True)


def shown(value):
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    return str(value)


def meant(value):
    if isinstance(value, dict) and set(value) == {"base64"}:
        return base64.b64decode(value["base64"])
    if isinstance(value, dict):
        return {name: meant(inner) for name, inner in value.items()}
    return value


clients = {}
for line in sys.stdin:
    ask = json.loads(line)
    key = (ask["service"], ask["id"], ask["key"])
    if key not in clients:
        clients[key] = boto3.client(
            ask["service"],
            region_name="eu-west-1",
            endpoint_url=base,
            aws_access_key_id=ask["id"],
            aws_secret_access_key=ask["key"],
            verify=sys.argv[1] if tls else None,
            config=Config(retries={"total_max_attempts": 1}),
        )
    try:
        answer = getattr(clients[key], ask["call"])(**meant(ask["with"]))
    except ClientError as error:
        answer = {"error": error.response["Error"]["Code"]}
    print(json.dumps(answer, default=shown), flush=True)
