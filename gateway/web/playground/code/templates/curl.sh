# export PRESSROOM_KEY=YOUR_API_KEY
{% if wanted.mode == "run" %}
# For bash or zsh, with curl and jq.
base={{ wanted.url | word }}

id=$(curl -sS -X POST "$base/run" \
  -H "Authorization: Bearer $PRESSROOM_KEY" \
  -H "Content-Type: application/json" \
  -d '{{ {"input": wanted.input} | json(2) }}' | tee /dev/stderr | jq -r .id)

status=IN_QUEUE
while [ "$status" = IN_QUEUE ] || [ "$status" = IN_PROGRESS ]; do
  sleep 2
  reply=$(curl -sS "$base/status/$id" -H "Authorization: Bearer $PRESSROOM_KEY")
  status=$(printf '%s' "$reply" | jq -r .status)
done
printf '%s' "$reply" | jq .
{% if wanted.has_files %}

# Save its files here.
printf '%s' "$reply" | jq -r '.output | .. | strings | select(startswith("http"))' |
  while read -r url; do
    curl -sS --fail --remote-name "$url"
  done
{% endif %}
{% else %}
curl -sS -X POST {{ (wanted.url + "/runsync") | word }} \
  -H "Authorization: Bearer $PRESSROOM_KEY" \
  -H "Content-Type: application/json" \
  -d '{{ {"input": wanted.input} | json(2) }}'
{% endif %}
