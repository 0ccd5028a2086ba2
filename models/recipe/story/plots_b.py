"""The other five plots: errand, learn, truth, astray and gift. Written as those in plots_a.py."""

from . import beats as b

ERRAND = {
    "ask": ["a {kind} who must bring a {obj} to {his} {giver}", "a brave {kind} and a {obj}", "a {kind} on a long way with {aobj}"],
    "trouble": "I must bring this {obj} to my {giver}, but {barrier_say}|{Barrier_say}, and my {giver} needs the {obj}",
    "paragraphs": [
        [("opening", 1), (b.DAILY, .8)],
        [(["{day}, {his} {giver} [wrote|sent word]. \"Please bring me the {look} {obj},\" the letter said.", "{day}, {his} {giver} needed {aobj} {at}. \"I will bring it,\" said {Hn}.",
           "{day}, {Hn} promised to bring {aobj} to {his} {giver}."], 1),
         (["{He} took the {obj}, [a bag of|some] {food}, and set off for the {place}.", "So {he} put on {his} [hat|coat|boots], took the {obj} and went to the {place}.",
           "{Hn} held the {obj} tight and [marched|walked] past the {view}."], 1),
         (["But then {he} had to stop. {Barrier_say}!", "Half way there, {he} saw that {barrier_say}.", "All went well until {he} saw that {barrier_say}."], 1),
         (["{H} was afraid.", "{His} [knees|paws|hands] began to shake.", "\"I cannot go on,\" {he} [said|whispered].", "{H} felt very small."], .9)],
        [(b.MEET, 1), (b.ASK, .6), (b.TELL, 1), (b.OFFER, .7),
         (["\"My {giver} is waiting for the {obj},\" said {Hn}, \"so I must be brave.\"", "{Hn} looked at the {obj} and [took a deep breath|held up {his} head|stood up straight].",
           "\"I am afraid,\" said {H}. \"So am I,\" said {F}, \"but together we can do it.\""], .7)],
        [(["{Fn} had an idea: {crossing}.", "\"I know!\" said {F}. So {crossing}.", "Then {crossing}, one [small |careful |slow |]step at a time."], 1),
         (["{Hn} did not let go of the {obj}[ once|], and soon they were on the other side.", "It was [hard|slow|scary], but the {look} {obj} stayed safe and dry.",
           "[Step by step|Bit by bit|Little by little], they came to the end of the way, and the {obj} was safe."], 1),
         (["{His} {giver} was so {glad} to see the {obj}. \"What a brave {kind} you are!\"", "\"My {obj}!\" said {his} {giver}. \"Now I can {use}. Thank you, both of you!\"",
           "{His} {giver} took the {obj} and gave them {food}."], 1), (b.THANKS, .7)],
        [(b.LESSON, .6), (b.FAR_ENDING, 1), (b.OUTRO, .25)]],
    "questions": [
        ("Who needed the {obj}?", "{Hn}'s {giver} needed the {obj}.", ["giver"]), ("What did {Hn} bring?", "{Hn} brought {aobj}.", ["obj"]),
        ("Who helped {Hn}?", "{Fn} the {fkind} helped {Hn}.", ["Fn"]), ("Why did {Hn} have to stop?", "{Hn} had to stop because {barrier_say}.", ["barrier_say"]),
        ("Where did {Hn} go?", "{Hn} went to the {place}.", ["place"])],
}

LEARN = {
    "ask": ["a {kind} who learns to {use}", "a {kind} and {his} new {obj}", "a {kind} who does not give up", "a {kind} with a new {obj}"],
    "trouble": "I got a new {obj}, but I cannot {use}|I want to {use}, but I [do not know how|always fail]|I will never learn to {use}",
    "paragraphs": [
        [("opening", 1), (b.DAILY, .5), (["[For {his} birthday|One day|At the fair], {his} {donor} gave {him} {aobj}.", "{He} got {aobj} from {his} {donor}.", "{He} had a new {obj}, {look} and fine."], 1)],
        [(["{day}, {Hn} went to the {place}. {He} wanted to {use}.", "{day}, {Hn} took {hisobj} and tried to {use}.", "\"Today I will learn to {use},\" said {H} {day_low}."], 1),
         (["But it was [hard|not easy|much harder than {he} thought].", "But the {obj} would not do what {he} wanted.", "But {he} did it all wrong."], 1),
         (["[Twice|Three times|Four times|Five times] {he} tried, and each time {mishap}.", "{He} tried [again|once more|a second time], and {mishap}.", "The first time, {mishap}. The second time, {mishap2}."], 1), (b.FEEL_BAD, .9)],
        [(["\"I [give up|do not like it any more]!\" said {Hn}, and {he} put the {obj} {spot}.", "{He} threw the {obj} down and [walked away|sat on a {a_look} log|stamped {his} foot].", "\"This is a stupid {obj},\" {he} said."], .7),
         (b.MEET, 1), (b.ASK, .6), (b.TELL, 1),
         (["\"I needed [a whole summer|many days|a year] to learn it,\" said {F}.", "\"Nobody can do it at first,\" said {F}. \"I could not {use} when I was young.\"", "{Fn} [smiled|laughed]. \"You must go slowly,\" {fhe} said. \"I will show you.\""], 1)],
        [(["{Fn} showed {him} how to hold the {obj}, and {Hn} [tried|watched|listened] {slowly}.", "Every {time}, {Fn} and {Hn} [practised|worked] {at} with the {look} {obj}.",
           "First {Fn} did it, and then {Hn} did it. [Again and again|Over and over|All {time}] they tried."], 1),
         (["[One day|Then|At last], it worked! {Hn} could {use}.", "And [suddenly|at last|one {time}], {Hn} could {use} all alone.", "After {days} days, {Hn} could {use} better than anyone."], 1),
         (b.THANKS, .9), (b.GLAD, .5)],
        [(b.LESSON, .6), (b.ENDING, 1), (b.OUTRO, .25)]],
    "questions": [
        ("What did {Hn} want to do?", "{Hn} wanted to {use}.", ["use"]), ("Who helped {Hn}?", "{Fn} the {fkind} helped {Hn}.", ["Fn"]),
        ("Who showed {Hn} how to do it?", "{Fn} the {fkind} showed {him}.", ["Fn"])],
}

TRUTH = {
    "ask": ["a {kind} who tells the truth about a {obj}", "a {kind} and a borrowed {obj}", "a {kind} who breaks {his} friend's {obj}", "a {kind}, a lie and a {obj}"],
    "trouble": "I broke it",
    "paragraphs": [
        [("opening", 1), (b.DAILY, .6), (["{His} friend {Fn} was a {ftrait} {fkind} who had {aobj}.", "{He} had a friend, a {ftrait} {fkind} [named|called] {Fn}. {Fn} owned {aobj}."], 1)],
        [(["{day}, {Fn} said, \"You may have my {obj} until {night}.\"", "{day}, {Hn} asked, \"May I [borrow|use] your {obj}?\" \"Yes, but take care of it,\" said {F}.", "{day}, {Fn} let {Hn} {use}."], 1),
         (["{causeline}"], 1), (["[Crack|Oh no|Snap]! {Broke}.", "Then it happened: {broke}.", "There was a bad sound, and {broke}."], 1),
         (["[Quickly|Full of fear], {Hn} hid the {obj} {spot}.", "{Hn} [looked around|was afraid] and put the broken {obj} {spot}.", "Nobody had seen it. {Hn} pushed the {obj} {spot} and {ran} home."], 1)],
        [(["\"Where is my {obj}?\" asked {Fn}. \"I do not know,\" said {H}. \"{lie}.\"", "When {Fn} asked for the {obj}, {Hn} said, \"{lie}.\"", "\"{lie},\" {said} {Hn} when {Fn} came to get the {obj}."], 1),
         (["But that night, {Hn} could not sleep.", "But the lie sat in {his} tummy like a [cold|heavy|big] stone.", "The {food} did not taste good, and {his} bed felt [hard|cold|too big]."], 1),
         (["{Fn} looked {spot2} and {spot3}, and {fhe} was {sad}.", "{He} saw {Fn} crying {at}, and felt {sad}.", "{Fn} looked for the {obj} all day, and {Hn} felt {sad}."], .9)],
        [(["[In the morning|At last|Early the next day], {Hn} went to {Fn}. \"I broke your {obj} and hid it {spot},\" {he} said. \"I am sorry.\"",
           "\"{Fn}, I must tell you something,\" said {Hn}. \"I broke the {obj}. It is {spot}. I am so sorry.\""], 1),
         (["{Fn} was quiet for a [moment|long time]. Then {fhe} said, \"[Thank you for telling me|It was brave to tell me|I forgive you].\"", "\"I am cross about the {obj},\" said {F}, \"but I am glad that you told me the truth.\""], 1),
         (["Together they {fix}.", "{Hn} and {Fn} sat down, and they {fix}.", "All {time} they worked, and then they {fix}."], 1),
         (["Now the {look} {obj} was as good as new.", "{Hn}'s heart was light again.", "{Fn} [laughed|smiled], and {Hn} felt {glad}.", "Then they ate {food}[ together|]."], .8)],
        [(b.LESSON, .7), (b.FAR_ENDING, 1), (b.OUTRO, .25)]],
    "questions": [
        ("Who broke the {obj}?", "{Hn} the {kind} broke the {obj}.", ["Hn"]), ("Where did {Hn} hide the {obj}?", "{Hn} hid the {obj} {spot}.", ["spot"]),
        ("Whose {obj} was it?", "It was {Fn}'s {obj}.", ["Fn"]), ("Why did the {obj} break?", "The {obj} broke because {because}.", ["because"]),
        ("What did {Hn} say at first?", "{Hn} said, \"{lie}.\"", ["lie"])],
}

ASTRAY = {
    "things": "nv",
    "ask": ["a {kind} who gets lost", "a lost {kind} and a {obj}", "a {kind} who loses the way and has a {obj}", "a {kind} lost {at} with {aobj}"],
    "trouble": "I am lost, and all I have is this {obj}|I do not know the way home|I walked too far with my {obj}",
    "paragraphs": [
        [("opening", 1), (b.DAILY, .4), (b.TREASURE, 1), (b.USE, .4)],
        [(["{day}, {Hn} took {hisobj} and [went|walked|{ran}] to the {place}.", "{day}, {Hn} went out to {smalltask} {at}. {He} had the {look} {obj} with {him}."], 1),
         (["{He} [followed|ran after] {lure} until {he} did not know where {he} was.", "There was {lure}! {Hn} [followed|went after] it, further and further from the path.", "{He} saw {lure} and went after it, and [forgot|lost] the way."], 1),
         (["All the [paths|trees|stones] looked the same.", "The {view} looked strange now, and it was getting dark.", "It got [dark|cold|late], and {he} could not see {his} house.", "\"Hello?\" {he} called, but only the wind answered."], 1), (b.FEEL_BAD, 1)],
        [(["{He} looked {spot2}, but there was [no path|only {junk}].", "{He} walked past {junk} and came back to the same place.", "Something moved {spot3}. It was only {junk}."], .7),
         (["Then {he} [thought of|remembered|saw] {his} {look} {obj}. \"I must [stay here|stay calm] and make a sign,\" {he} said.", "\"Wait,\" said {Hn}. \"I have my {obj}! Somebody may [see|hear] me.\"", "{His} hand touched the {obj}. \"That is it!\" {he} cried."], 1),
         (["{signal}"], 1)],
        [(["Far away, a {ftrait} {fkind} [named|called] {Fn} {noticed} it and came {slowly}.", "{Fn}, a {ftrait} {fkind}, was on the way home. {Fhe} {noticed} the {obj} and [came|{ran}] over.", "Not far away, {Fn} the {fkind} {noticed} it. \"Somebody needs help,\" {fhe} said."], 1),
         (b.TELL, .7), (["\"I know this place well,\" said {F}. \"Come with me.\"", "{Fn} took {his} hand. \"I will bring you home,\" {fhe} said.", "\"How clever to use your {obj}!\" said {F}. \"Now let us go home.\""], 1),
         (["Soon {Hn} saw {his} house, and {his} {giver} was at the door.", "They walked past the {place}, and there was {his} home.", "[Side by side|Hand in hand|Step by step], they walked home, while the {animalsound}."], 1), (b.THANKS, .9), (b.GLAD, .3)],
        [(b.LESSON, .6), (b.ENDING, 1), (b.OUTRO, .25)]],
    "questions": [
        ("Why did {Hn} get lost?", "{Hn} got lost because {he} followed {lure}.", ["lure"]), ("Who found {Hn}?", "{Fn} the {fkind} found {Hn}.", ["Fn"]),
        ("What did {Hn} have with {him}?", "{Hn} had {aobj}.", ["obj"]), ("Who brought {Hn} home?", "{Fn} the {fkind} brought {Hn} home.", ["Fn"]),
        ("Where did {Hn} get lost?", "{Hn} got lost {at}.", ["at"])],
}

GIFT = {
    "ask": ["a {kind} who gives away {his} {obj}", "a {kind} and a birthday {obj}", "a birthday gift", "a {kind} who has a {obj} as a gift", "a {kind}, a birthday and {aobj}"],
    "trouble": "I have no gift for {Fn}",
    "paragraphs": [
        [("opening", 1), (b.DAILY, .4), (b.TREASURE, 1), (["{His} best friend was {Fn}, a {ftrait} {fkind}.", "{He} had a good friend: {Fn}, the {ftrait} {fkind}."], 1)],
        [(["{day}, there was a letter at the door. \"Come to my birthday,\" wrote {Fn}.", "{day}, {Hn} heard that it was {Fn}'s birthday.", "\"My birthday is tomorrow,\" said {Fn} {day_low}. \"Will you come?\""], 1),
         (["{Hn} had no [money|gold|coins] and no gift.", "But what could {he} give {fhim}?", "\"What can I give to {Fn}?\" {he} asked {himself}."], 1), (b.FEEL_BAD, .7)],
        [(["First {he} wanted to bake {food}, but {bake}.", "{He} tried to make {food}, but {bake}.", "{He} made some {food} for {fhim}, but {bake}."], .9),
         (["Then {he} picked flowers {at}, but {flowers}.", "{He} looked {spot} for something nice, but found only {junk}.", "{He} went to the market, but everything cost too much."], .8),
         (["Sad and tired, {he} sat down and looked at {his} {look} {obj}.", "Then {his} eyes fell on the {look} {obj}.", "At home, {he} held the {obj} in {his} arms. \"{Fn} always liked it,\" {he} said."], 1),
         (["It was hard to give it away, but {he} put it in a {b_look} box.", "\"I love my {obj},\" said {Hn}, \"but I love {Fn} more.\"", "{He} thought about it all night. In the morning, {he} tied a bow around the {obj}."], 1)],
        [(["\"Happy birthday, {Fn}!\" said {H}, and gave {fhim} the {look} {obj}.", "At the party, {Hn} gave {fhim} the {obj}. \"This is for you,\" {he} said."], 1),
         (["{Fn} could not believe it. \"Your {obj}? For me?\"", "\"Oh, {Hn}! Your [best thing|own {obj}]!\" cried {F}.", "{Fn} was so {glad} that {fhe} hugged {him}[ for a long time|]."], 1),
         (["\"It is yours and mine now,\" said {F}. \"We can {use} together.\"", "\"Come every {time},\" said {F}, \"and we will {use}.\"", "\"You are the best gift of all,\" said {Fn}, and they ate {food}."], 1)],
        [(b.LESSON, .6), (b.FAR_ENDING, 1), (b.OUTRO, .25)]],
    "questions": [
        ("What did {Hn} give to {Fn}?", "{Hn} gave {Fn} the {obj}.", ["obj"]), ("Whose birthday was it?", "It was {Fn}'s birthday.", ["Fn"]),
        ("Who was {Hn}'s friend?", "{Hn}'s friend was {Fn} the {fkind}.", ["Fn"]), ("Who got the {obj}?", "{Fn} the {fkind} got the {obj}.", ["Fn"])],
}

SIGNALS = {  # what one can do with the thing to be found: for things that sound, and for things that are seen from afar
    "n": ["{Hn} played the {obj} as loud as {he} could, and the sound went over the [hills|trees|fields].", "Loud and [clear|bright], the {obj} sounded through the [dark|cold|night].",
          "{He} made as much noise with the {obj} as {he} could."],
    "v": ["{Hn} held the {look} {obj} up high, so that it could be seen from far away.", "{He} climbed a {a_look} rock and [waved|held up] the {obj}.",
          "Up went the {look} {obj}, as high as {he} could hold it."],
}
