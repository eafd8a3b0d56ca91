package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

const chart = "../helm/imagetier"

// serviceMonitor is what the chart uses of the Prometheus Operator's type.
type serviceMonitor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Selector  metav1.LabelSelector `json:"selector"`
		Endpoints []struct {
			Port        string              `json:"port"`
			Path        string              `json:"path"`
			Interval    string              `json:"interval"`
			Relabelings []map[string]string `json:"relabelings"`
		} `json:"endpoints"`
	} `json:"spec"`
}

// kinds are the types that manifests are decoded into.
var kinds = map[string]func() any{
	"v1 Service":                              func() any { return new(corev1.Service) },
	"apps/v1 StatefulSet":                     func() any { return new(appsv1.StatefulSet) },
	"apps/v1 Deployment":                      func() any { return new(appsv1.Deployment) },
	"autoscaling/v2 HorizontalPodAutoscaler":  func() any { return new(autoscalingv2.HorizontalPodAutoscaler) },
	"v1 ConfigMap":                            func() any { return new(corev1.ConfigMap) },
	"policy/v1 PodDisruptionBudget":           func() any { return new(policyv1.PodDisruptionBudget) },
	"networking.k8s.io/v1 NetworkPolicy":      func() any { return new(networkingv1.NetworkPolicy) },
	"networking.k8s.io/v1 Ingress":            func() any { return new(networkingv1.Ingress) },
	"monitoring.coreos.com/v1 ServiceMonitor": func() any { return new(serviceMonitor) },
}

// decode decodes manifests strictly: an unknown or repeated field is an error.
func decode(t *testing.T, manifests string) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, text := range regexp.MustCompile(`(?m)^---\s*$`).Split(manifests, -1) {
		var meta metav1.PartialObjectMetadata
		if err := yaml.Unmarshal([]byte(text), &meta); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if meta.Kind == "" {
			continue // only comments
		}
		newObject := kinds[meta.APIVersion+" "+meta.Kind]
		if newObject == nil {
			t.Fatalf("kind %s %s is not expected", meta.APIVersion, meta.Kind)
		}
		object := newObject()
		if err := yaml.UnmarshalStrict([]byte(text), object); err != nil {
			t.Errorf("%s %s: %v\n%s", meta.Kind, meta.Name, err, text)
		}
		all[meta.Kind+" "+meta.Name] = object
	}
	return all
}

// render returns what helm template renders with these values, after helm lint.
func render(t *testing.T, values string) (manifests string, err error) {
	t.Helper()
	helm := os.Getenv("HELM")
	if helm == "" {
		t.Skip("HELM is not set: make test-release sets it")
	}
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), helm, append(args, "--values", file)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("helm %s: %w\n%s%s", strings.Join(args, " "), err, out, &stderr)
		}
		return string(out), err
	}
	if manifests, err = run("template", "photos", chart, "--kube-version", "1.30.0"); err != nil {
		return "", err
	}
	if _, err := run("lint", "--strict", chart); err != nil {
		t.Error(err)
	}
	return manifests, nil
}

const (
	single = "settings: {source: 'posts=s3://photos/feed?region=eu-central-1'}\n"
	fleet  = `replicas: 3
settings: {source: 'posts=s3://photos/feed?region=eu-central-1', derived: 's3://derived/tier?region=eu-central-1'}
serviceMonitor: {enabled: true, labels: {release: prometheus}}
ingress: {enabled: true, tlsSecretName: img-tls}
podAnnotations: {a: b}
nodeSelector: {disk: nvme}
tolerations: [{key: disk, operator: Exists}]
storage: {className: fast}
serviceAccount: {name: photos}
imagePullSecrets: [{name: registry}]
`
	serving = `settings: {source: 'posts=s3://photos/feed?region=eu-central-1'}
serviceMonitor: {enabled: true}
gateway:
  enabled: true
  settings: {image_base: 'https://img.example.com', image_prefix: 'https://cdn.app.example/=posts',
    feed: 'dns:///feed:9090', content: 'dns:///content:9090', user: 'dns:///user:9090', max_query_cost: 5000}
`
)

func TestChart_SingleNode(t *testing.T) {
	text, err := render(t, single)
	if err != nil {
		t.Fatal(err)
	}
	all := decode(t, text)
	if len(all) != 4 || all["NetworkPolicy photos"] == nil || all["Service photos"] == nil {
		t.Errorf("%d objects: a single node has a set, two services and a policy\n%s", len(all), text)
	}
	checkSet(t, all["StatefulSet photos"].(*appsv1.StatefulSet), 1)
}

func TestChart_Fleet(t *testing.T) {
	text, err := render(t, fleet)
	if err != nil {
		t.Fatal(err)
	}
	all := decode(t, text)
	set := all["StatefulSet photos"].(*appsv1.StatefulSet)
	checkSet(t, set, 3)
	if pod := set.Spec.Template.Spec; pod.NodeSelector["disk"] != "nvme" || len(pod.Tolerations) != 1 ||
		pod.ServiceAccountName != "photos" || len(pod.ImagePullSecrets) != 1 ||
		*set.Spec.VolumeClaimTemplates[0].Spec.StorageClassName != "fast" {
		t.Errorf("values are not used: %+v", pod)
	}
	if b := all["PodDisruptionBudget photos"].(*policyv1.PodDisruptionBudget); b.Spec.MaxUnavailable.IntValue() != 1 {
		t.Errorf("disruption budget %+v", b.Spec)
	}
	policy := all["NetworkPolicy photos"].(*networkingv1.NetworkPolicy).Spec
	if len(policy.Ingress) != 2 || policy.Ingress[0].Ports[0].Port.StrVal != "http" || policy.Ingress[0].From != nil ||
		policy.Ingress[1].Ports[0].Port.StrVal != "private" || len(policy.Ingress[1].From) != 2 {
		t.Errorf("the private port is open, or the public one closed: %+v", policy)
	}
	nodes := all["Service photos-nodes"].(*corev1.Service)
	monitor := all["ServiceMonitor photos"].(*serviceMonitor)
	if nodes.Spec.ClusterIP != "None" || set.Spec.ServiceName != nodes.Name ||
		monitor.Labels["release"] != "prometheus" ||
		!slices.ContainsFunc(nodes.Spec.Ports, func(p corev1.ServicePort) bool {
			return p.Name == monitor.Spec.Endpoints[0].Port
		}) {
		t.Errorf("service %+v, monitor %+v", nodes.Spec, monitor.Spec)
	}
	for _, labels := range []map[string]string{set.Spec.Template.Labels, nodes.Labels} {
		for key, value := range monitor.Spec.Selector.MatchLabels {
			if labels[key] != value {
				t.Errorf("label %s is %q, the selector wants %q", key, labels[key], value)
			}
		}
	}
	ingress := all["Ingress photos"].(*networkingv1.Ingress).Spec
	if ingress.Rules[0].HTTP.Paths[0].Backend.Service.Name != nodes.Name || ingress.TLS[0].SecretName != "img-tls" {
		t.Errorf("ingress %+v", ingress)
	}
}

// checkSet checks the pods of the tier, and that they can write their volumes.
func checkSet(t *testing.T, set *appsv1.StatefulSet, replicas int32) {
	t.Helper()
	pod := set.Spec.Template.Spec
	c := pod.Containers[0]
	if *set.Spec.Replicas != replicas || *pod.SecurityContext.FSGroup != 10001 {
		t.Errorf("%d replicas, or a volume that cannot be written: %+v", *set.Spec.Replicas, pod.SecurityContext)
	}
	environ := checkPod(t, pod, "IMAGETIER_", "configuration.md")
	if environ["IMAGETIER_SOURCE"] != "posts=s3://photos/feed?region=eu-central-1" ||
		environ["IMAGETIER_WORKERS"] != "2" ||
		c.EnvFrom[0].SecretRef.Name != "imagetier" || c.Image != "imagetier:0.1.0" {
		t.Errorf("image %s, environment %v", c.Image, environ)
	}
}

// checkPod checks the security settings of a pod, and that its environment has only settings of its program,
// which refuses to start with an unknown one. It returns the environment.
func checkPod(t *testing.T, pod corev1.PodSpec, prefix, document string) (environ map[string]string) {
	t.Helper()
	of, c := pod.SecurityContext, pod.Containers[0]
	if !*of.RunAsNonRoot || *of.RunAsUser != 10001 ||
		of.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || *pod.AutomountServiceAccountToken ||
		*c.SecurityContext.AllowPrivilegeEscalation || !*c.SecurityContext.ReadOnlyRootFilesystem ||
		!slices.Equal(c.SecurityContext.Capabilities.Drop, []corev1.Capability{"ALL"}) {
		t.Errorf("the pod may do too much: %+v %+v", of, c.SecurityContext)
	}
	if r := c.Resources; r.Requests.Cpu().IsZero() || r.Requests.Memory().IsZero() || r.Limits.Memory().IsZero() {
		t.Errorf("resources %+v", c.Resources)
	}
	if *pod.TerminationGracePeriodSeconds != 40 {
		t.Errorf("grace %d s", *pod.TerminationGracePeriodSeconds)
	}
	settings, err := os.ReadFile("../../docs/operate/" + document)
	if err != nil {
		t.Fatal(err)
	}
	environ = map[string]string{}
	for _, e := range c.Env {
		environ[e.Name] = e.Value
		flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(e.Name, prefix), "_", "-"))
		if e.Name != "GOMEMLIMIT" && !bytes.Contains(settings, []byte("`--"+flag+" ")) {
			t.Errorf("%s is not a setting", e.Name)
		}
	}
	return environ
}

func TestChart_Gateway(t *testing.T) {
	text, err := render(t, serving)
	if err != nil {
		t.Fatal(err)
	}
	all := decode(t, text)
	deployment := all["Deployment photos-gateway"].(*appsv1.Deployment).Spec
	pod := deployment.Template.Spec
	environ := checkPod(t, pod, "IMAGETIER_GATEWAY_", "gateway-configuration.md")
	if c := pod.Containers[0]; *deployment.Replicas != 2 || c.EnvFrom[0].SecretRef.Name != "imagetier-gateway" ||
		!slices.Equal(c.Args, []string{"serve"}) || environ["IMAGETIER_GATEWAY_TIER"] != "http://photos-nodes:8081" ||
		environ["IMAGETIER_GATEWAY_MAX_QUERY_COST"] != "5000" ||
		environ["IMAGETIER_GATEWAY_FEED"] != "dns:///feed:9090" {
		t.Errorf("%d replicas of %+v", *deployment.Replicas, c)
	}
	if _, set := environ["IMAGETIER_GATEWAY_UPSTREAM"]; set {
		t.Error("serve has a setting of proxy")
	}
	policy := all["NetworkPolicy photos-gateway"].(*networkingv1.NetworkPolicy).Spec
	if len(policy.Ingress) != 2 || policy.Ingress[0].From != nil || policy.Ingress[0].Ports[0].Port.StrVal != "http" ||
		len(policy.Ingress[1].From) != 1 || policy.Ingress[1].Ports[0].Port.StrVal != "private" {
		t.Errorf("the private port is open, or the public one closed: %+v", policy)
	}
	budget := all["PodDisruptionBudget photos-gateway"].(*policyv1.PodDisruptionBudget).Spec
	pods := all["Service photos-gateway-pods"].(*corev1.Service)
	public := all["Service photos-gateway"].(*corev1.Service)
	monitor := all["ServiceMonitor photos-gateway"].(*serviceMonitor).Spec
	for key, value := range deployment.Selector.MatchLabels {
		for of, labels := range map[string]map[string]string{
			"pods": deployment.Template.Labels, "policy": policy.PodSelector.MatchLabels,
			"budget": budget.Selector.MatchLabels, "private service": pods.Spec.Selector,
			"public service": public.Spec.Selector, "monitor": monitor.Selector.MatchLabels, "monitored": pods.Labels,
		} {
			if labels[key] != value {
				t.Errorf("%s: label %s is %q, the deployment has %q", of, key, labels[key], value)
			}
		}
	}
	if monitor.Endpoints[0].Port != pods.Spec.Ports[0].Name || public.Spec.Ports[0].Name != "http" ||
		len(public.Spec.Ports) != 1 {
		t.Errorf("ports: monitor %+v, %+v %+v", monitor, pods.Spec.Ports, public.Spec.Ports)
	}
}

func TestChart_InvalidValues_Fail(t *testing.T) {
	const links = "image_base: 'https://img.example.com', image_prefix: 'https://cdn.app.example/=posts'"
	for values, want := range map[string]string{
		"replicas: 2\n":                 "needs settings.derived",
		"replica: 2\n":                  "replica",
		"networkPolicy: {enable: no}\n": "enable",
		"gateway: {enabled: true}\n":    "needs gateway.settings.image_base",
		"gateway: {enabled: true, settings: {" + links + "}}\n":              "feed, content and user",
		"gateway: {enabled: true, mode: proxy, settings: {" + links + "}}\n": "gateway.settings.upstream",
		"gateway: {enabled: true, mode: both}\n":                             "mode",
	} {
		if text, err := render(t, values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\n%s", values, err, text)
		}
	}
}

// The plain manifests, too, have no field that Kubernetes does not know.
func TestManifests_Strict(t *testing.T) {
	for file, want := range map[string]int{"fleet.yaml": 4, "gateway.yaml": 5} {
		text, err := os.ReadFile("../kubernetes/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if all := decode(t, string(text)); len(all) != want {
			t.Errorf("%d objects in %s, want %d", len(all), file, want)
		}
	}
}
