"""What `check.py` tries: Jobs that the admission policy must refuse, and values with which the chart must not render."""
import copy

JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: arizuko-0a1b2c3d-r0, labels: {app.kubernetes.io/name: arizuko-agent}}
spec:
  backoffLimit: 0
  template:
    metadata: {labels: {app.kubernetes.io/name: arizuko-agent, arizuko.run: r0}}
    spec:
      restartPolicy: Never
      serviceAccountName: arizuko-agent
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, runAsUser: 65532, runAsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: agent
          image: arizuko-ant:0.1.0
          args: [--turn-url, "https://10.0.0.1:8089"]
          env: [{name: HOME, value: /home/agent}, {name: LANG, value: C.UTF-8}]
          securityContext:
            {privileged: false, allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
          volumeMounts:
            - {name: home, mountPath: /home/agent, subPath: instance/homes/h-1}
            - {name: token, mountPath: /var/run/arizuko, readOnly: true}
            - {name: tmp, mountPath: /tmp}
      volumes:
        - {name: home, persistentVolumeClaim: {claimName: arizuko-data}}
        - {name: token, projected: {sources: [{serviceAccountToken: {audience: arizuko, expirationSeconds: 600, path: token}}]}}
        - {name: tmp, emptyDir: {sizeLimit: 256Mi}}
"""


def bad_jobs():
    def pod(job):
        return job["spec"]["template"]["spec"]

    def container(job):
        return pod(job)["containers"][0]

    def volume(source):
        def change(job):
            pod(job)["volumes"].append({"name": "more", **source})

        return change

    def at(place, **values):
        return lambda job: place(job).update(values)

    token = {"audience": "https://kubernetes.default.svc", "expirationSeconds": 600, "path": "token"}
    return {
        "a Secret as a volume": volume({"secret": {"secretName": "arizuko"}}),
        "a Secret in a projected volume": volume({"projected": {"sources": [{"secret": {"name": "arizuko"}}]}}),
        "a ConfigMap": volume({"configMap": {"name": "arizuko"}}),
        "a directory of the node": volume({"hostPath": {"path": "/"}}),
        "a driver's volume": volume({"csi": {"driver": "secrets-store.csi.k8s.io"}}),
        "another claim": volume({"persistentVolumeClaim": {"claimName": "another"}}),
        "a token for the cluster": volume({"projected": {"sources": [{"serviceAccountToken": token}]}}),
        "a token without an audience": volume({"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 600}}]}}),
        "a Secret as the environment": at(container, envFrom=[{"secretRef": {"name": "arizuko"}}]),
        "a Secret in a variable": at(container, env=[{"name": "HOME", "valueFrom": {"secretKeyRef": {"name": "arizuko", "key": "SECRETS_KEY"}}}]),
        "another variable": at(container, env=[{"name": "LD_PRELOAD", "value": "/home/agent/x.so"}]),
        "another image": at(container, image="evil:1"),
        "another program": at(container, command=["/bin/sh"]),
        "another account": at(pod, serviceAccountName="arizuko"),
        "a token of the account": at(pod, automountServiceAccountToken=True),
        "an init container": at(pod, initContainers=[{"name": "more", "image": "evil:1"}]),
        "a second container": lambda job: pod(job)["containers"].append(copy.deepcopy(container(job))),
        "the node's network": at(pod, hostNetwork=True),
        "the node's processes": at(pod, hostPID=True),
        "a port of the node": at(container, ports=[{"containerPort": 80, "hostPort": 80}]),
        "privilege": lambda job: container(job)["securityContext"].update(privileged=True),
        "escalation": lambda job: container(job)["securityContext"].update(allowPrivilegeEscalation=True),
        "a capability": lambda job: container(job)["securityContext"]["capabilities"].update(add=["NET_RAW"]),
        "a root to write to": lambda job: container(job)["securityContext"].update(readOnlyRootFilesystem=False),
        "root": lambda job: pod(job)["securityContext"].update(runAsUser=0),
        "root in the container": lambda job: container(job)["securityContext"].update(runAsUser=0),
        "no filter": lambda job: pod(job)["securityContext"].update(seccompProfile={"type": "Unconfined"}),
        "no filter in the container": lambda job: container(job)["securityContext"].update(seccompProfile={"type": "Unconfined"}),
        "the whole claim": lambda job: container(job)["volumeMounts"][0].pop("subPath"),
        "the databases": lambda job: container(job)["volumeMounts"][0].update(subPath="instance/store"),
        "a path upwards": lambda job: container(job)["volumeMounts"][0].update(subPath="instance/homes/../store"),
        "all homes": lambda job: container(job)["volumeMounts"][0].update(subPath="instance/homes/"),
        "the label that policies select is missing": lambda job: job["spec"]["template"]["metadata"]["labels"].pop("app.kubernetes.io/name"),
    }


UNSAFE = {
    "agents in the pod's own container": {"agents.backend": "process"},
    "agents by docker.sock": {"agents.backend": "docker"},
    "docker.sock as a setting": {"settings.DOCKER_SOCKET": "/var/run/docker.sock"},
    "another backend as a setting": {"settings.CONTAINER_BACKEND": "process"},
    "no network policy, unsaid": {"network.policies": False},
    "no admission policy, unsaid": {"admission.enabled": False},
    "no Secret and no server": {"secrets.name": ""},
    "secrets out of the environment": {"secrets.sources": "env:"},
    "secrets out of a file of the data directory": {"secrets.sources": "dotenv:"},
    "a server in the clear": {"secrets.sources": "vault+http://vault:8200/secret/arizuko?auth=kubernetes&role=a&plaintext=yes"},
    "a lasting key of a cloud": {"secrets.sources": "aws-sm://eu-west-1/team?auth=static&credentials_file=/x"},
    "the cluster's own token for a server": {"secrets.identityToken.audience": "https://kubernetes.default.svc"},
    "a secret among the values": {"secrets.values.SECRETS_KEY": "changeme"},
    "a secret among the settings": {"settings.SECRETS_KEY": "changeme"},
    "a credential among the settings": {"settings.CHANNEL_SECRET_WEBD": "changeme"},
    "a model's key among the settings": {"settings.ANTHROPIC_API_KEY": "sk-ant-x"},
    "a bot's token among the settings": {"settings.TELEGRAM_BOT_TOKEN": "1:x"},
    "a provider's secret among the settings": {"settings.OIDC_CLIENT_SECRET": "changeme"},
    "a provider in the clear": {"settings.OIDC_ISSUER": "http://id.example.org", "settings.OIDC_CLIENT_ID": "a", "web.host": "a.example.org"},
    "a provider that does not know where to send browsers": {"settings.GITHUB_CLIENT_ID": "a"},
    "a provider without what it knows this instance as": {"settings.OIDC_ISSUER": "https://id.example.org", "web.host": "a.example.org"},
    "another place for a daemon": {"settings.DASHD_URL": "http://evil.example.org"},
    "a policy for strangers that is none": {"settings.ONBOARDING_POLICY": "open"},
    "an image that is another one tomorrow": {"image.tag": "latest"},
    "agents' image that is another one tomorrow": {"agents.image.tag": "latest"},
    "an image without a name for what it is": {"image.tag": "", "image.digest": ""},
    "a digest that is none": {"image.digest": "sha256:abc"},
    "privilege": {"securityContext.privileged": True},
    "privileged agents": {"agents.securityContext.privileged": True},
    "the node's network": {"hostNetwork": True},
    "a directory of the node": {"extraVolumes": [{"name": "x", "hostPath": {"path": "/"}}]},
    "two writers of one database": {"replicas": 2},
    "everybody as a trusted proxy": {"web.trustedProxies": "10.0.0.0/8,0.0.0.0/0"},
    "an ingress without TLS": {"ingress.enabled": True, "ingress.host": "a.example.org"},
    "an ingress for every name": {"ingress.enabled": True, "ingress.tlsSecret": "arizuko-tls"},
    "a label that policies select": {"agents.labels": {"app.kubernetes.io/name": "arizuko"}},
    "a name that no token could carry": {"instance": "Not A Name"},
}
RENDERED = {
    "default": {},
    "all": {
        "instance": "team",
        "image.repository": "registry.example.org/arizuko",
        "image.digest": "sha256:" + "0" * 64,
        "image.pullSecrets": [{"name": "pull"}],
        "agents.runtimeClass": "gvisor",
        "agents.nodeSelector": {"pool": "agents"},
        "agents.tolerations": [{"key": "agents", "operator": "Exists"}],
        "agents.pullSecrets": ["pull"],
        "agents.labels": {"team": "one"},
        "ingress.enabled": True,
        "ingress.host": "chat.example.org",
        "ingress.tlsSecret": "chat-tls",
        "ingress.className": "nginx",
        "web.host": "chat.example.org",
        "web.trustedProxies": "10.0.0.0/8",
        "tls.secretName": "edge-tls",
        "storage.class": "fast",
        "settings.MAX_CONCURRENT_RUNS": "8",
        "settings.SECRETS_POLL_INTERVAL": "1m",
        "settings.OIDC_ISSUER": "https://id.example.org/realms/main",
        "settings.OIDC_CLIENT_ID": "arizuko",
        "settings.GITHUB_CLIENT_ID": "Iv1.0",
        "settings.GITHUB_URL": "https://github.example.org",
        "settings.GITHUB_API_URL": "https://github.example.org/api/v3",
        "settings.ONBOARDING_POLICY": "queue",
    },
    "server": {
        "secrets.sources": "vault+https://vault.vault.svc:8200/secret/arizuko?auth=kubernetes&role=a&jwt_file=/var/run/secrets/identity/token",
        "secrets.identityToken.audience": "vault",
        "network.extraEgress": [
            {
                "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "vault"}}}],
                "ports": [{"protocol": "TCP", "port": 8200}],
            }
        ],
    },
    "no-agents": {"agents.backend": "none"},
}
