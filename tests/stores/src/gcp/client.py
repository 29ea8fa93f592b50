"""Google's own client: one call for each line of JSON on standard input, answered by a line of JSON."""

import base64
import json
import sys

import google.auth
from google.api_core import exceptions
from google.cloud import secretmanager
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceRestTransport,
)

HOST = sys.argv[1]
SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


def described(version):
    return {"name": version.name, "state": version.state.name, "etag": version.etag}


def call(client, ask):
    do, name = ask["do"], ask.get("name")
    if do == "create":
        secret = {"replication": {"automatic": {}}} if "/locations/" not in ask["parent"] else {}
        made = client.create_secret(parent=ask["parent"], secret_id=ask["id"], secret=secret)
        return {"name": made.name}
    if do == "add":
        payload = {"data": base64.b64decode(ask["data"])}
        if "crc" in ask:
            payload["data_crc32c"] = ask["crc"]
        return described(client.add_secret_version(parent=name, payload=payload))
    if do == "access":
        found = client.access_secret_version(name=name)
        data = base64.b64encode(found.payload.data).decode()
        return {"name": found.name, "data": data, "crc": found.payload.data_crc32c}
    if do == "get":
        return described(client.get_secret_version(name=name))
    if do == "list":
        request = {"parent": name, "filter": ask.get("filter", ""), "page_size": 2}
        return {"versions": [described(v) for v in client.list_secret_versions(request=request)]}
    if do in ("enable", "disable", "destroy"):
        request = {"name": name, "etag": ask.get("etag", "")}
        return described(getattr(client, do + "_secret_version")(request=request))
    if do == "delete":
        client.delete_secret(name=name)
        return {}
    raise ValueError(do)


def main():
    credentials, project = google.auth.default(scopes=SCOPES)
    transport = SecretManagerServiceRestTransport(
        host=HOST, credentials=credentials, url_scheme="http"
    )
    client = secretmanager.SecretManagerServiceClient(transport=transport)
    print(json.dumps({"project": project}), flush=True)
    for line in sys.stdin:
        try:
            answer = call(client, json.loads(line))
        except exceptions.GoogleAPICallError as error:
            answer = {"error": type(error).__name__, "status": error.code.value}
        except google.auth.exceptions.GoogleAuthError as error:
            answer = {"error": type(error).__name__}
        print(json.dumps(answer), flush=True)


main()
