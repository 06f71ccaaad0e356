"""The same under the name that the class had first, and what fails for good beside the rest."""

from openai_parallel_toolkit import APIPlayer, APIRequestor


class Player(APIPlayer):
    def handle_retry_error(self, error):
        print("gave up:", type(error).__name__)
        return "None"


FORM = "You add numbers. Always answer in the following json format: {'content': '2'}."


def messages(question):
    return [{"role": "system", "content": FORM}, {"role": "user", "content": question}]


message_sequences = [messages("How much is 53 + 53?"), messages("How much is 100 + 100?")]
player = APIRequestor(model_name="gpt-35-turbo", temperature=1.0, max_tokens=20, rate_limit=100)
results = player.get_responses_parallel(message_sequences)
print(results[:2])
print(player.model_name, player.temperature, player.max_tokens, player.rate_limit)

with Player(model_name="gpt-35-turbo", max_tokens=20, rate_limit=100) as api:
    print(api.get_responses_parallel([messages("How much is a fish?"), message_sequences[0]]))
