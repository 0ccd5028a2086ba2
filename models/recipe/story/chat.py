"""Chats: a story that was asked for, questions about it, and small talk, which often leads to a story."""

import random
import re

from .grammar import Teller, polish
from .plan import any_name
from .tell import Story

SMALL_TALK_SHARE = 0.07  # of all documents; others begin or end with it
STORY_WORDS = 190  # of each of two stories in one chat, which must fit in the context

# What a user says | what is answered. Where a story is offered, "Yes" may follow.
HELLO = ("[Hello|Hello|Hi|Hi|Hey|Hello there|Hi there|Hey there|Good morning|Good evening|Good day|Hello, gust|Hi, gust|"
         "Hello again][!|.|]")
OFFERS = ("[Would you like [to hear |]a story|Shall I tell you a story|Do you want [to hear |]a story|"
          "What shall I tell you a story about]?")
GREETINGS = [
    (HELLO, "[Hello|Hi|Hi there|Hello there]! [|I am gust. |How nice to meet you. ]" + OFFERS),
    (HELLO, "[Hello|Hi|Hi there|Hello there]! " + OFFERS),
    ("[How are you|How do you do|How is it going|Are you well|How are you doing][ today|]?",
     "I am [fine|very well|well], thank you. [|And you? |How are you? ]" + OFFERS),
    ("[Hello|Hi|Hey][!|,] [how are you|how is it going]?", "[Hello|Hi]! I am [fine|very well], thank you. " + OFFERS),
    ("[I am|I feel|I'm] [fine|good|great|very well|happy][, thank you|, thanks|][.|!]", "I am glad to hear that. " + OFFERS),
]
ABOUT = [
    ("[Who|What] are you?", "I am gust, a [tiny|very small] language model. I tell [short|little] stories."),
    ("[Who are you, and what can you do|Tell me about yourself|Introduce yourself][?|.]",
     "I am gust, a [tiny|very small] language model. I tell [short|little] stories and answer questions about them."),
    ("[What is your name|What are you called|Do you have a name]?", "My name is gust. [What is yours|And who are you]?"),
    ("[What can you do|What do you do|What can I ask you|How can you help me|Can you help me|Help]?",
     "I can tell [short|little] stories and answer [easy |simple |]questions about them. "
     "[|Just name an animal and a thing.]"),
    ("[What can you tell stories about|Which stories do you know|What stories do you know]?",
     "I know stories about [foxes|bears|mice|owls|dragons|robots], [lost keys|broken drums|new kites|"
     "old maps] and good friends. " + OFFERS),
    ("Are you [a person|a human|alive|real|a robot|a machine|an animal|a computer]?",
     "I am [only |just |]a [tiny|very small] language model[ that tells stories|]."),
    ("[How old are you|Where do you live|Where are you from|Who made you|How big are you]?",
     "I am a [tiny|very small] language model, and I live in this computer. I only know [little|short] stories."),
    ("Are you [clever|smart|big|an expert]?", "Not very. I am [tiny|very small], but I know many [little|short] stories."),
    ("[Do you like|Do you love] [stories|foxes|music|cats|me|children]?", "I like [little|short] stories best. " + OFFERS),
    ("Can you [sing|dance|cook|fly|see me|draw|swim|read|count|do maths|write code|speak French|play chess]?",
     "No, I can only tell [little|short] stories. " + OFFERS),
]
UNKNOWN = [
    ("[What is|What's] the [capital|biggest city|population|flag] of [France|Spain|China|Japan|Italy|Peru|Kenya|India|"
     "Germany|Brazil]?", None),
    ("[What is|What's|How much is] [two|three|four|five|2|3|7|12|15|20] [plus|times|minus|and|+] [two|three|five|six|2|4|8|"
     "10|17]?", None),
    ("Why [is the sky blue|is grass green|do birds sing|is the sea salty|do we sleep|do leaves fall|is ice cold|"
     "do cats purr]?", None),
    ("[How do [planes|rockets|cars|computers|magnets|engines|phones] work|How far is the [moon|sun]|How high is [Everest|"
     "a mountain]]?", None),
    ("Who [is the king of [France|Spain|England]|wrote [Hamlet|the Bible]|invented [the wheel|the telephone]|"
     "is the president]?", None),
    ("[What is|What will be] the weather [today|tomorrow|like]?", None),
    ("[What time is it|What day is it|What year is it][ now|]?", None),
    ("[Explain|Tell me about] [gravity|quantum physics|the war|history|politics|chemistry|the stars|evolution|money]"
     "[| to me].", None),
    ("[Write|Show me] [a program|some code|a poem|a letter|an essay|a function][| in [Python|Rust|C]][.|]", None),
    ("[Translate|Say] [this|that|hello|something] [into|in] [French|German|Spanish|Latin|Chinese].", None),
    ("[What is|What's] [love|life|the meaning of life|a computer|an atom|the internet|a planet|the news|the time]?", None),
    ("[Where is|Where's] [Paris|London|my phone|the station|Berlin|Africa|my cat|the moon]?", None),
    ("[Do you know|Can you tell me] [the news|the time|my age|where I live|a fact|who I am|what time it is]?", None),
]
I_DO_NOT_KNOW = ("[I do not know|I am sorry, I do not know|That I do not know|I do not know that]. I am a [tiny|"
                 "very small] model, and "
                 "I only know [little|short] stories.")
FEELINGS = [
    ("[I am|I'm|I feel] [a bit |very |so |][sad|lonely|upset|unhappy|afraid|worried][.|]",
     "I am sorry to hear that. [A story may help. |Maybe a story can cheer you up. |]" + OFFERS),
    ("[I am|I'm] [a bit |very |so |][bored|tired|sleepy|hungry|ill][.|]",
     "[Then|Maybe] a [short|little|quiet] story is just right. " + OFFERS),
    ("[Tell me something|Say something|Talk to me|Tell me a joke|Tell me a secret|Sing a song|What is new|"
     "What shall we do][.|!|]",
     "[I only know stories|Stories are all I know], but I know many. " + OFFERS),
    ("[I like|I love] [stories|foxes|cats|dogs|your stories|animals|dragons|you][.|!]",
     "[How nice|So do I|I am glad]! " + OFFERS),
    ("[OK|Okay|Oh|Hm|Well|Aha|Cool|Nice|Great|Wow|I see][.|!|]", "[Good|All right]. " + OFFERS),
    ("[You are|You're] [nice|kind|funny|sweet|great|clever][.|!|]", "[Thank you|How kind of you]! " + OFFERS),
    ("[You are|You're] [stupid|silly|boring|bad|wrong|too small][.|!|]",
     "I am sorry. I am only a [tiny|very small] model. " + OFFERS),
]
PARTING = [
    ("[Thank you|Thanks|Thank you very much|Thanks a lot|Many thanks][!|.|]",
     "You are welcome! [Would you like another story?|]"),
    ("[That was|What] a [good|nice|lovely|great|fine] story[!|.]",
     "[Thank you|I am glad that you liked it]! Would you like another story?"),
    ("[I liked it|I liked that|I like it|Very nice|How lovely|Well done|Good|Great][!|.]",
     "[Thank you|I am glad]! Would you like another story?"),
    ("[I did not like it|That was bad|That was boring|That makes no sense][.|!]",
     "I am sorry. I am only a [tiny|very small] model."),
    ("[Bye|Bye bye|Goodbye|Good night|See you|See you later|I must go now|I have to go][!|.|]",
     "[Goodbye|Good night|Bye]! [Sleep well|See you soon|Come back for another story|Until next time][.|!]"),
]
NO = ("[No|No, thank you|No, thanks|Not now|Later|Maybe later|No thanks][.|!|]",
      "All right. [Just ask when you want a story|I am here when you want one].")
YES = ("[Yes|Yes|Yes, please|Yes please|Sure|Okay|Please do|Of course|Oh yes|Go on|Yes, tell me a story|"
       "I would like that][.|!|]")


def conversation(rng: random.Random, made: Story, other: Story | None = None) -> list[str]:
    """Perhaps small talk, the story, questions (the user's words may be careless), and a second story or perhaps thanks."""
    teller = Teller(rng, {})
    turns, asked = [], made.request
    if rng.random() < 0.25:
        turns = small_talk(rng, teller)
        if turns[-1].endswith("story?") and rng.random() < 0.4:
            asked = polish(teller.expand(YES))
    turns += [casual(rng, asked), made.text]
    for question, answer, _ in rng.sample(made.questions, min(len(made.questions), rng.choice([0, 1, 2, 3, 3, 4]))):
        turns += [casual(rng, shorter(rng, made, question)), answer]
    if other:
        turns += [casual(rng, other.request), other.text]
    elif rng.random() < 0.12:
        turns += exchange(rng, teller, *rng.choice(PARTING))
    return turns


def small_talk(rng: random.Random, teller: Teller | None = None) -> list[str]:
    """One to four exchanges, a greeting first where there is one."""
    teller = teller or Teller(rng, {})
    groups = [[GREETINGS], [ABOUT], [UNKNOWN], [FEELINGS], [GREETINGS, ABOUT], [ABOUT, ABOUT], [GREETINGS, FEELINGS],
              [GREETINGS, UNKNOWN],
              [ABOUT, UNKNOWN], [UNKNOWN, ABOUT], [GREETINGS, ABOUT, UNKNOWN], [GREETINGS, ABOUT, FEELINGS, PARTING],
              [UNKNOWN, UNKNOWN],
              [PARTING], [FEELINGS, PARTING], "name", "no"]
    drawn = rng.choices(groups, [3, 3, 3] + [1] * (len(groups) - 3))[0]
    if drawn == "name":
        return own_name(rng, teller)
    if drawn == "no":
        return exchange(rng, teller, *rng.choice(GREETINGS[:2])) + exchange(rng, teller, *NO)
    turns, used = [], []
    for group in drawn:
        pair = rng.choice([p for p in group if p not in used])
        used.append(pair)
        turns += exchange(rng, teller, *pair)
    return turns


def exchange(rng: random.Random, teller: Teller, user: str, answer: str | None) -> list[str]:
    return [casual(rng, polish(teller.expand(user))), polish(teller.expand(answer or I_DO_NOT_KNOW))]


def own_name(rng: random.Random, teller: Teller) -> list[str]:
    name, _ = any_name(rng)
    turns = exchange(rng, teller, f"[Hello. |Hi! |Hello, |][My name is|I am|I'm|Call me] {name}[.|!]",
                     f"[Hello|Hi], {name}! [How nice to meet you. |I am gust. |]" + OFFERS)
    if rng.random() < 0.5:
        turns += exchange(rng, teller, "[What is my name|Do you know my name|What am I called|Who am I]?",
                          f"Your name is {name}.")
    return turns


def shorter(rng: random.Random, made: Story, question: str) -> str:
    """"it" for the thing, "the fox" for the fox's name, as a user might say."""
    hero, thing = made.plan.hero, made.plan.object
    if rng.random() < 0.12 and f"the {thing} " in question and "gave" not in question:
        question = question.replace(f"the {thing} ", "it ")
    elif rng.random() < 0.12 and question.endswith(f"the {thing}?") and "gave" not in question:
        question = question.replace(f"the {thing}?", "it?")
    if rng.random() < 0.15:
        question = re.sub(rf"\b{hero.name}\b", f"the {hero.kind}", question)
    return question


def casual(rng: random.Random, text: str) -> str:
    """Sometimes without the capital or the full stop."""
    draw = rng.random()
    if draw < 0.08:
        text = text[0].lower() + text[1:]
    if draw < 0.16:
        text = text.rstrip(".!?")
    return text
